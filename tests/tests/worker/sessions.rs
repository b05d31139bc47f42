//! Lists of sessions: page by page, a few records in each turn, each answer to its own request.

use std::sync::Arc;
use std::time::Duration;

use dataplane::worker::SessionPage;
use harness::topology::A;

use super::{Crew, some_clients};

#[test]
fn an_answer_that_came_too_late_is_not_taken_for_another() {
    let mut crew = Crew::new(1, 100);
    let ask = |crew: &Crew, capacity| crew.shared[0].request_sessions(SessionPage::new(capacity));
    let late = ask(&crew, 7).expect("nobody asked before");
    crew.pass(Duration::from_millis(10));
    // Nobody took it; the next answer is another request's, whether or not it has come yet.
    let next = ask(&crew, 9).expect("the worker has taken the first");
    assert!(crew.shared[0].take_sessions(next).is_none(), "that was the first one's");
    crew.pass(Duration::from_millis(10));
    let page = crew.shared[0].take_sessions(next).expect("answered");
    assert_eq!(page.sessions.capacity(), 9);
    assert!(crew.shared[0].take_sessions(late).is_none());
}

#[test]
fn sessions_are_listed_page_by_page() {
    let mut crew = Crew::new(1, 3_000);
    let all = some_clients(2_500);
    for &client in &all {
        crew.device("a", 0).arrive(crew.syn(A, client));
    }
    crew.settle();
    let mut page = SessionPage::new(700);
    let mut seen = Vec::new();
    for _ in 0..20 {
        let ticket = crew.shared[0].request_sessions(page).expect("no other page is under way");
        let second = crew.shared[0].request_sessions(SessionPage::new(1));
        assert!(second.is_err(), "one page at a time");
        let answer = (0..10).find_map(|_| {
            crew.pass(Duration::from_millis(10));
            crew.shared[0].take_sessions(ticket)
        });
        page = answer.expect("the page comes back");
        assert!(page.sessions.len() <= 700);
        seen.extend(page.sessions.drain(..).map(|at| (at.key.client, at.key.client_port)));
        if page.done {
            break;
        }
    }
    assert!(page.done);
    seen.sort_unstable();
    let mut expected: Vec<_> = all.iter().map(|&(client, port)| (client.into(), port)).collect();
    expected.sort_unstable();
    assert_eq!(seen, expected);
    crew.counters(0);
}

/// A list of whatever length lengthens no turn beyond one of a full batch, but for a few records.
#[test]
fn a_turn_looks_at_few_records_for_a_list() {
    let mut crew = Crew::new(1, 1_000);
    let all = some_clients(500);
    for &client in &all {
        crew.device("a", 0).arrive(crew.syn(A, client));
    }
    crew.settle();
    let reload = Arc::clone(crew.workers[0].engine().generation());
    let judged = || Some(Arc::clone(&reload));
    for (frames, under, most) in
        [(1, None, 63), (64, None, 4), (1, judged(), 15), (64, judged(), 1)]
    {
        let mut page = SessionPage::new(1_000);
        page.under = under;
        let ticket = crew.shared[0].request_sessions(page).expect("no other page is under way");
        crew.now = crew.now.after(Duration::from_millis(10));
        let forwarded = crew.counters(0).forwarded;
        let turn = |crew: &mut Crew| {
            for &client in &all[..frames] {
                crew.device("a", 0).arrive(crew.syn(A, client));
            }
            let now = crew.now;
            assert!(crew.workers[0].turn(now));
            while crew.device("p", 0).take_sent().is_some() {}
            crew.shared[0].take_sessions(ticket)
        };
        let pages: Vec<_> = (0..all.len().div_ceil(most)).map(|_| turn(&mut crew)).collect();
        let (last, before) = pages.split_last().expect("some turns");
        assert!(before.iter().all(Option::is_none), "more than {most} records in a turn");
        let page = last.as_ref().expect("no turn goes by without any");
        assert!(page.done && page.sessions.len() == all.len());
        let sent = crew.counters(0).forwarded - forwarded;
        assert_eq!(sent, (pages.len() * frames) as u64, "every turn carries its packets");
    }
}
