//! Paths from the beginning that together take every edge of a graph, in few steps.
//!
//! A graph without cycles, each edge to be taken at least once, paths from the root that may end anywhere: a flow with a
//! lower bound of one on each edge, whose sum is the number of steps. From the last states to the first, each state
//! asks for as many paths as leave it; what the edges into it do not bring, it asks of a predecessor that has paths to
//! spare, or else of the one nearest to the root.

/// An edge of a graph whose states are numbered, the root being 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Where it begins.
    pub from: u32,
    /// Where it ends.
    pub to: u32,
}

/// For each state the numbers of the edges that one end of theirs has in it.
struct Index {
    first: Vec<u32>,
    edges: Vec<u32>,
}

impl Index {
    fn new(states: usize, edges: &[Edge], end: impl Fn(&Edge) -> u32) -> Self {
        let mut first = vec![0_u32; states + 1];
        edges.iter().for_each(|edge| first[end(edge) as usize + 1] += 1);
        for state in 0..states {
            first[state + 1] += first[state];
        }
        let (mut next, mut sorted) = (first.clone(), vec![0_u32; edges.len()]);
        for (number, edge) in (0_u32..).zip(edges) {
            let place = &mut next[end(edge) as usize];
            sorted[*place as usize] = number;
            *place += 1;
        }
        Self { first, edges: sorted }
    }

    fn of(&self, state: u32) -> &[u32] {
        &self.edges[self.first[state as usize] as usize..self.first[state as usize + 1] as usize]
    }
}

/// The states in an order in which every edge leads on; `None` if there is a cycle.
fn order(states: usize, edges: &[Edge], leaving: &Index) -> Option<Vec<u32>> {
    let mut missing = vec![0_u32; states];
    edges.iter().for_each(|edge| missing[edge.to as usize] += 1);
    let mut order: Vec<u32> = (0..states as u32).filter(|state| missing[*state as usize] == 0).collect();
    let mut at = 0;
    while let Some(state) = order.get(at).copied() {
        at += 1;
        for number in leaving.of(state) {
            let to = edges[*number as usize].to;
            missing[to as usize] -= 1;
            if missing[to as usize] == 0 {
                order.push(to);
            }
        }
    }
    (order.len() == states).then_some(order)
}

/// How often each edge is taken.
fn flow(states: usize, edges: &[Edge], order: &[u32], entering: &Index) -> Vec<u32> {
    let mut depth = vec![u32::MAX; states];
    depth[0] = 0;
    // For each state: how many paths arrive beyond those that leave.
    let mut spare = vec![0_i64; states];
    spare[0] = i64::MAX / 2;
    for state in order {
        spare[*state as usize] += entering.of(*state).len() as i64;
    }
    for edge in edges {
        spare[edge.from as usize] -= 1;
    }
    for state in order {
        let nearest = entering.of(*state).iter().map(|number| depth[edges[*number as usize].from as usize]).min();
        depth[*state as usize] = nearest.map_or(0, |nearest| nearest.saturating_add(1));
    }
    let mut flow = vec![1_u32; edges.len()];
    for state in order.iter().rev() {
        let mut lacking = -spare[*state as usize];
        let from = |number: &u32| edges[*number as usize].from as usize;
        for number in entering.of(*state) {
            let given = spare[from(number)].min(lacking).max(0);
            flow[*number as usize] += given as u32;
            spare[from(number)] -= given;
            lacking -= given.min(lacking);
        }
        if lacking > 0
            && let Some(number) = entering.of(*state).iter().min_by_key(|number| depth[from(number)])
        {
            flow[*number as usize] += lacking as u32;
            spare[from(number)] -= lacking;
        }
    }
    flow
}

/// Paths from state 0, as numbers of edges, that together take every edge; `None` if the graph has a cycle.
pub fn cover(states: usize, edges: &[Edge]) -> Option<Vec<Vec<u32>>> {
    let (leaving, entering) = (Index::new(states, edges, |edge| edge.from), Index::new(states, edges, |edge| edge.to));
    let order = order(states, edges, &leaving)?;
    let mut left = flow(states, edges, &order, &entering);
    // Where to look for the next edge that is not used up.
    let mut next: Vec<u32> = leaving.first[..states].to_vec();
    let mut paths = Vec::new();
    loop {
        let (mut path, mut state) = (Vec::new(), 0_u32);
        loop {
            let (place, end) = (&mut next[state as usize], leaving.first[state as usize + 1]);
            while *place < end && left[leaving.edges[*place as usize] as usize] == 0 {
                *place += 1;
            }
            if *place == end {
                break;
            }
            let number = leaving.edges[*place as usize];
            left[number as usize] -= 1;
            path.push(number);
            state = edges[number as usize].to;
        }
        if path.is_empty() {
            return Some(paths);
        }
        paths.push(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(list: &[(u32, u32)]) -> Vec<Edge> {
        list.iter().map(|(from, to)| Edge { from: *from, to: *to }).collect()
    }

    /// Every path leads from the root along edges, and every edge is taken.
    fn check(states: usize, edges: &[Edge]) -> usize {
        let paths = cover(states, edges).unwrap();
        let mut taken = vec![false; edges.len()];
        for path in &paths {
            let mut at = 0;
            for number in path {
                assert_eq!(edges[*number as usize].from, at);
                at = edges[*number as usize].to;
                taken[*number as usize] = true;
            }
        }
        assert!(taken.into_iter().all(|taken| taken));
        paths.iter().map(Vec::len).sum()
    }

    #[test]
    fn a_line_is_one_path() {
        assert_eq!(check(4, &edges(&[(0, 1), (1, 2), (2, 3)])), 3);
    }

    #[test]
    fn what_branches_is_walked_again_from_the_root_and_what_joins_is_not() {
        assert_eq!(check(4, &edges(&[(0, 1), (1, 2), (1, 3)])), 4);
        assert_eq!(check(5, &edges(&[(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)])), 5);
    }

    #[test]
    fn paths_to_spare_are_used_before_the_root_is_asked() {
        // Two paths arrive at 3, and the edges to 5 and 6 want one each behind 4.
        assert_eq!(check(7, &edges(&[(0, 1), (0, 2), (1, 3), (2, 3), (3, 4), (4, 5), (4, 6)])), 8);
    }

    #[test]
    fn a_grid_is_covered() {
        let side = 12_u32;
        let mut list = Vec::new();
        for (row, column) in (0..side).flat_map(|row| (0..side).map(move |column| (row, column))) {
            let at = row * side + column;
            list.extend((column + 1 < side).then_some((at, at + 1)));
            list.extend((row + 1 < side).then_some((at, at + side)));
        }
        check((side * side) as usize, &edges(&list));
    }

    #[test]
    fn a_cycle_is_refused() {
        assert_eq!(cover(3, &edges(&[(0, 1), (1, 2), (2, 1)])), None);
    }
}
