//! A shortest cycle of a directed graph, without recursion.

use std::collections::VecDeque;

/// How many edges the search for a shorter cycle may look at; it is only a search for better evidence.
const EFFORT_MAX: usize = 20_000_000;

/// The edges by their ends.
struct Graph {
    begins: Vec<usize>,
    ends: Vec<u32>,
}

impl Graph {
    fn new(count: usize, edges: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut begins = vec![0; count + 1];
        edges.clone().for_each(|(from, _)| begins[from as usize + 1] += 1);
        for index in 0..count {
            begins[index + 1] += begins[index];
        }
        let mut free = begins.clone();
        let mut ends = vec![0; begins[count]];
        for (from, to) in edges {
            ends[free[from as usize]] = to;
            free[from as usize] += 1;
        }
        Self { begins, ends }
    }

    fn from(&self, node: u32) -> &[u32] {
        &self.ends[self.begins[node as usize]..self.begins[node as usize + 1]]
    }
}

/// Finds a cycle of `count` nodes and these edges, as short as a bounded effort finds; `None` if there is none.
pub(super) fn find(count: usize, edges: &[(u32, u32)]) -> Option<Vec<u32>> {
    let forward = Graph::new(count, edges.iter().copied());
    let backward = Graph::new(count, edges.iter().map(|(from, to)| (*to, *from)));
    let mut is_left = vec![true; count];
    // Kahn's way, from both ends: what nothing comes before, and what nothing comes behind, is in no cycle.
    peel(&forward, &backward, &mut is_left);
    peel(&backward, &forward, &mut is_left);
    let mut best: Option<Vec<u32>> = None;
    let mut search = Search { came_from: vec![u32::MAX; count], touched: Vec::new(), effort: 0 };
    for start in (0..count as u32).filter(|node| is_left[*node as usize]) {
        let length_max = best.as_ref().map_or(usize::MAX, |best| best.len() - 1);
        if length_max < 2 || (best.is_some() && search.effort > EFFORT_MAX) {
            break;
        }
        best = search.shortest_through(start, &forward, &is_left, length_max).or(best);
    }
    best
}

/// Takes away, as long as there are any, nodes without a predecessor.
fn peel(forward: &Graph, backward: &Graph, is_left: &mut [bool]) {
    let left = |node: u32, is_left: &[bool]| backward.from(node).iter().filter(|from| is_left[**from as usize]).count();
    let mut before: Vec<usize> = (0..is_left.len() as u32).map(|node| left(node, is_left)).collect();
    let mut free: Vec<u32> =
        (0..is_left.len() as u32).filter(|node| is_left[*node as usize] && before[*node as usize] == 0).collect();
    while let Some(node) = free.pop() {
        is_left[node as usize] = false;
        for next in forward.from(node) {
            before[*next as usize] -= 1;
            if before[*next as usize] == 0 && is_left[*next as usize] {
                free.push(*next);
            }
        }
    }
}

/// Breadth-first searches over the same nodes, one after the other.
struct Search {
    came_from: Vec<u32>,
    touched: Vec<u32>,
    effort: usize,
}

impl Search {
    fn shortest_through(&mut self, start: u32, graph: &Graph, is_left: &[bool], length_max: usize) -> Option<Vec<u32>> {
        for node in self.touched.drain(..) {
            self.came_from[node as usize] = u32::MAX;
        }
        let mut open = VecDeque::from([(start, 1)]);
        while let Some((node, length)) = open.pop_front() {
            if length > length_max {
                return None;
            }
            for next in graph.from(node) {
                self.effort += 1;
                if *next == start {
                    return Some(self.path(start, node));
                }
                if is_left[*next as usize] && self.came_from[*next as usize] == u32::MAX {
                    self.came_from[*next as usize] = node;
                    self.touched.push(*next);
                    open.push_back((*next, length + 1));
                }
            }
        }
        None
    }

    fn path(&self, start: u32, end: u32) -> Vec<u32> {
        let mut path = vec![end];
        while path[path.len() - 1] != start {
            path.push(self.came_from[path[path.len() - 1] as usize]);
        }
        path.reverse();
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_shortest_of_several_cycles() {
        // 0 → 1 → 2 → 3 → 0, and 2 → 3 → 2 within it; 4 leads in and 5 out.
        let edges = [(4, 0), (0, 1), (1, 2), (2, 3), (3, 0), (3, 2), (3, 5)];
        assert_eq!(find(6, &edges), Some(vec![2, 3]));
        assert_eq!(find(6, &edges[..4]), None);
    }

    #[test]
    fn a_long_chain_needs_no_stack() {
        let mut edges: Vec<(u32, u32)> = (0..300_000).map(|node| (node, node + 1)).collect();
        assert_eq!(find(300_001, &edges), None);
        edges.push((300_000, 0));
        assert_eq!(find(300_001, &edges).map(|cycle| cycle.len()), Some(300_001));
    }
}
