//! Traces of simulations of which the validator once said that nothing explains them, up to the line that it named.

use collab_engine::trace::validate::validate;

#[test]
fn a_session_that_was_sent_the_state_is_asked_at_the_head_of_that_moment() {
    let trace = include_bytes!("data/state-while-the-head-moves.jsonl");
    let explained = validate([Ok(trace.as_slice())]).unwrap();
    assert_eq!((explained.counts.processes, explained.counts.sessions), (1, 4));
}

#[test]
fn what_was_read_before_the_log_was_cut_may_be_told_behind_it() {
    let trace = include_bytes!("data/read-while-the-log-is-cut.jsonl");
    let explained = validate([Ok(trace.as_slice())]).unwrap();
    assert_eq!((explained.counts.processes, explained.counts.confirmed), (1, 2));
}
