//! Making a failing script small.

use super::act::Act;

/// Leaves out what is not needed: first whole clients, then halves, quarters and so on, down to single acts. `fails`
/// decides: whether a script still fails, and then how. It is asked about `tries` times.
pub(crate) async fn shrink<T>(
    acts: &[Act],
    mut how: T,
    mut tries: usize,
    mut fails: impl AsyncFnMut(&[Act]) -> Option<T>,
) -> (Vec<Act>, T) {
    let mut acts = acts.to_vec();
    for client in 0..=acts.iter().map(|act| act.client).max().unwrap_or(0) {
        let fewer: Vec<Act> = acts.iter().filter(|act| act.client != client).cloned().collect();
        if let Some(other) = fails(&fewer).await {
            (acts, how) = (fewer, other);
        }
    }
    let mut size = acts.len().div_ceil(2);
    while size > 0 && tries > 0 {
        let (mut at, before) = (0, acts.len());
        while at < acts.len() && tries > 0 {
            let fewer: Vec<Act> = acts.iter().take(at).chain(acts.iter().skip(at + size)).cloned().collect();
            tries -= 1;
            match fails(&fewer).await {
                Some(other) => (acts, how) = (fewer, other),
                None => at += size,
            }
        }
        // Single acts again and again, as long as that helps.
        size = if acts.len() < before && size == 1 { 1 } else { size / 2 };
    }
    (acts, how)
}

#[cfg(test)]
mod tests {
    use super::super::act::{Kind, Mix, script};
    use super::*;

    #[tokio::test]
    async fn only_what_is_needed_is_left() {
        let acts = script(7, Mix { clients: 4, acts: 80, has_hooks: false });
        let needed = [acts[11].clone(), acts[42].clone()];
        let fails = async |acts: &[Act]| needed.iter().all(|act| acts.contains(act)).then_some(acts.len());
        let (left, how) = shrink(&acts, acts.len(), 1000, fails).await;
        assert_eq!((left.as_slice(), how), (needed.as_slice(), 2));
        assert!(matches!(acts[0].kind, Kind::Join(_)));
    }
}
