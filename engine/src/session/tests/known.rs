//! Commands that are handed in twice.

use super::*;

const ID: Ulid = Ulid([7; 16]);

fn hand_in(bench: &mut Bench, id: Ulid, number: u64) -> Execution {
    let execution = bench.session.execute(bench.now, id, &address(), like(number)).unwrap();
    bench.drain();
    execution
}

fn likes(bench: &Bench) -> usize {
    let Some(View::Likes(view)) = bench.session.view(&address()) else { panic!("likes") };
    view.total(Target::Post)
}

fn applied(bench: &Bench) -> usize {
    bench.notices.iter().filter(|notice| matches!(notice, Notice::Applied { .. })).count()
}

#[test]
fn a_command_is_carried_out_once_while_it_is_pending_and_once_it_is_confirmed_and_taken() {
    let mut bench = Bench::live(true);
    assert_eq!(hand_in(&mut bench, ID, 1), Execution::Done);
    assert_eq!(hand_in(&mut bench, ID, 2), Execution::Known, "it is pending");
    bench.store_all();
    bench.server_says(Ack { handle: 1, number: 1 });
    assert_eq!(bench.resolutions(), [Resolution::Confirmed]);
    assert_eq!(hand_in(&mut bench, ID, 2), Execution::Known, "its ending is kept");
    bench.tell(Input::Taken { id: ID });
    assert_eq!(bench.session.endings().count(), 0);
    assert_eq!(hand_in(&mut bench, ID, 2), Execution::Known, "it is remembered");
    assert_eq!(bench.session.undo(bench.now, ID, &address()).unwrap(), Execution::Known);
    assert_eq!((likes(&bench), applied(&bench)), (1, 1));
    assert_eq!(bench.session.known(ID), Some(ID));
}

#[test]
fn a_command_that_was_stored_is_known_to_the_next_session() {
    let mut bench = Bench::live(false);
    hand_in(&mut bench, ID, 1);
    bench.store_all();
    let mut bench = bench.die();
    assert_eq!(bench.session.known(ID), Some(ID), "it is read at once, being pending");
    bench.go_live(true);
    assert_eq!(hand_in(&mut bench, ID, 2), Execution::Known);
    bench.store_all();
    bench.server_says(Ack { handle: 1, number: 1 });
    bench.store_all();
    // The log has not brought it, and the app has taken the news.
    bench.tell(Input::Taken { id: ID });
    bench.store_all();
    let mut bench = bench.die();
    bench.tell(Input::Open { address: address(), write: false });
    assert_eq!(hand_in(&mut bench, ID, 2), Execution::Known);
    assert_eq!(likes(&bench), 1);
}

#[test]
fn a_command_that_was_refused_or_did_nothing_is_not_tried_again_under_its_name() {
    let mut bench = Bench::live(true);
    hand_in(&mut bench, ID, 1);
    bench.store_all();
    let code = Code::Forbidden.number();
    bench.server_says(Reject { handle: 1, number: 1, code, message: "not here".into() });
    bench.store_all();
    assert_eq!(hand_in(&mut bench, ID, 1), Execution::Known);
    bench.tell(Input::Dismissed { id: ID });
    assert_eq!(hand_in(&mut bench, ID, 1), Execution::Known);
    assert_eq!(likes(&bench), 0);
    let [first, second] = [1, 2].map(|number| Ulid::new(bench.now, number));
    assert_eq!(hand_in(&mut bench, first, 1), Execution::Done);
    assert_eq!(hand_in(&mut bench, second, 1), Execution::Done, "and does nothing");
    assert_eq!(hand_in(&mut bench, second, 2), Execution::Known);
    assert_eq!(likes(&bench), 1);
}

#[test]
fn what_was_not_taken_on_may_be_handed_in_again() {
    let mut bench = Bench::live(true);
    let wrong = key(0, "x");
    bench.session.execute(bench.now, ID, &address(), wrong).unwrap_err();
    assert_eq!(hand_in(&mut bench, ID, 1), Execution::Done);
}

#[test]
fn of_what_ended_so_many_names_are_remembered_and_no_more() {
    let mut bench = Bench::live(true);
    bench.session.config.known_max = 2;
    for number in 1..=3_u64 {
        let id = Ulid::new(bench.now, number.into());
        hand_in(&mut bench, id, number);
        bench.store_all();
        bench.server_says(Ack { handle: 1, number });
        bench.tell(Input::Taken { id });
    }
    let known: Vec<u128> =
        (1..=3).filter(|n| bench.session.known(Ulid::new(bench.now, *n)).is_some()).collect();
    assert_eq!(known, [2, 3]);
}

#[test]
fn a_typed_edit_is_known_by_the_command_that_it_became_part_of() {
    let mut bench = written();
    let [first, second, third] = [1_u128, 2, 3].map(|n| Ulid::new(Timestamp(9_000), n));
    let type_in = |bench: &mut Bench, id, index, letter: &str| {
        let whole = bench.session.execute_typed(bench.now, id, &post(), key(index, letter));
        bench.drain();
        whole.unwrap()
    };
    assert_eq!(type_in(&mut bench, first, 0, "a"), first);
    assert_eq!(type_in(&mut bench, second, 1, "b"), second);
    assert_eq!(type_in(&mut bench, third, 2, "c"), second, "they were joined");
    assert_eq!(type_in(&mut bench, second, 9, "x"), second);
    assert_eq!(type_in(&mut bench, third, 9, "x"), second);
    assert_eq!(type_in(&mut bench, first, 9, "x"), first);
    let again = bench.session.execute(bench.now, third, &post(), key(0, "x")).unwrap();
    assert_eq!((again, body(&bench).as_str()), (Execution::Known, "abc"));
    assert_eq!(bench.session.known(third), Some(second));
}

#[test]
fn nothing_is_durable_that_was_not_asked_for() {
    let mut bench = Bench::live(true);
    bench.tell(Input::Written { token: StoreToken(u64::MAX), result: Ok(()) });
    hand_in(&mut bench, ID, 1);
    assert_eq!(bench.pushes(), [], "it is not on disk");
    bench.store_all();
    assert_eq!(bench.pushes(), [(1, 1)]);
}
