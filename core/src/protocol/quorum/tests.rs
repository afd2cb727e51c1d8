use std::sync::Arc;

use super::{Decision, Master, NoAnswer, Quorum, Ticket, View};

const A: (u16, u64) = (1, 0);
const B: (u16, u64) = (2, 1);

fn view(sentinel: &str, (port, epoch): (u16, u64), others: usize) -> Result<View, NoAnswer> {
    let master = Arc::new(Master { host: "10.0.0.1".into(), port, epoch });
    Ok(View { sentinel: sentinel.into(), master, others })
}

fn nothing(reason: &str) -> Result<View, NoAnswer> {
    Err(NoAnswer { reason: reason.into(), is_lasting: false })
}

/// Everyone who has to be asked is, and answers.
fn poll(quorum: &mut Quorum, answers: &[Result<View, NoAnswer>]) {
    let asked: Vec<_> = (0..answers.len()).map(|seat| quorum.ask(seat)).collect();
    for (seat, (asked, answer)) in asked.into_iter().zip(answers).enumerate() {
        if let Some(asked) = asked {
            quorum.answered(seat, asked, answer.clone());
        }
    }
}

fn named(quorum: &Quorum, ticket: Ticket) -> Option<(u16, u64)> {
    match quorum.decision(ticket)? {
        Decision::Named(master) => Some((master.port, master.epoch)),
        Decision::NoMajority(nothing) => panic!("divided: {}", nothing.reason),
    }
}

fn divided(quorum: &Quorum, ticket: Ticket) -> String {
    match quorum.decision(ticket) {
        Some(Decision::NoMajority(nothing)) => nothing.reason,
        other => panic!("not divided: {other:?}"),
    }
}

#[test]
fn two_of_three_decide_and_nobody_waits_for_the_third() {
    let mut quorum = Quorum::new(3);
    let ticket = quorum.ticket();
    let asked = [0, 1, 2].map(|seat| quorum.ask(seat).unwrap());
    assert!(!quorum.answered(1, asked[1], view("b", A, 2)));
    assert_eq!(quorum.decision(ticket), None);
    assert!(quorum.answered(2, asked[2], view("c", A, 2)));
    assert_eq!(named(&quorum, ticket), Some(A));
    // The one that hangs does not hold those up that come later.
    let later = quorum.ticket();
    assert_eq!(quorum.decision(later), None);
    let asked = [1, 2].map(|seat| quorum.ask(seat).unwrap());
    quorum.answered(1, asked[0], view("b", A, 2));
    quorum.answered(2, asked[1], view("c", A, 2));
    assert_eq!(named(&quorum, later), Some(A));
}

#[test]
fn the_first_to_answer_decides_nothing() {
    let mut quorum = Quorum::new(3);
    let ticket = quorum.ticket();
    poll(&mut quorum, &[view("a", A, 2), view("b", B, 2), view("c", B, 2)]);
    assert_eq!(named(&quorum, ticket), Some(B));
}

#[test]
fn an_answer_counts_for_those_who_came_before_it_was_asked() {
    let mut quorum = Quorum::new(1);
    let early = [quorum.ticket(), quorum.ticket()];
    let asked = quorum.ask(0).unwrap();
    let late = quorum.ticket();
    quorum.answered(0, asked, view("a", A, 0));
    assert_eq!(early.map(|ticket| named(&quorum, ticket)), [Some(A); 2]);
    assert_eq!(quorum.decision(late), None);
    assert_eq!(quorum.ask(0), Some(late));
    assert_eq!(quorum.ask(0), None, "nobody has come since");
}

#[test]
fn one_master_under_two_epochs_is_two() {
    let mut quorum = Quorum::new(3);
    let ticket = quorum.ticket();
    poll(&mut quorum, &[view("a", (1, 0), 2), view("b", (1, 2), 2), nothing("c is away")]);
    let reason = divided(&quorum, ticket);
    let said = "no 2 of 3 sentinels name the same master, which it takes: one names 10.0.0.1:1 (configuration epoch 0); one names 10.0.0.1:1 (configuration epoch 2); c is away";
    assert_eq!(reason, said);
}

#[test]
fn sentinels_that_are_not_listed_count() {
    let mut quorum = Quorum::new(1);
    let ticket = quorum.ticket();
    poll(&mut quorum, &[view("a", A, 2)]);
    assert!(divided(&quorum, ticket).ends_with("; only 1 are listed: list all 3"));
    // One that was reset knows of no others for a while.
    let ticket = quorum.ticket();
    poll(&mut quorum, &[view("a", A, 0)]);
    divided(&quorum, ticket);
}

#[test]
fn a_sentinel_that_is_listed_twice_counts_once() {
    let mut quorum = Quorum::new(3);
    let ticket = quorum.ticket();
    poll(&mut quorum, &[view("a", A, 2), view("a", A, 2), view("b", B, 2)]);
    divided(&quorum, ticket);
    let ticket = quorum.ticket();
    poll(&mut quorum, &[view("a", B, 2), view("a", B, 2), view("b", B, 2)]);
    assert_eq!(named(&quorum, ticket), Some(B));
}

#[test]
fn a_question_ends_when_all_have_failed() {
    let mut quorum = Quorum::new(2);
    let ticket = quorum.ticket();
    let wrong = Err(NoAnswer { reason: "wrong password".into(), is_lasting: true });
    poll(&mut quorum, &[nothing("away"), wrong]);
    let Some(Decision::NoMajority(NoAnswer { is_lasting, .. })) = quorum.decision(ticket) else {
        panic!("undecided");
    };
    assert!(is_lasting);
    let ticket = quorum.ticket();
    poll(&mut quorum, &[view("a", A, 1), view("b", A, 1)]);
    assert_eq!(named(&quorum, ticket), Some(A));
}
