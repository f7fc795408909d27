//! Well-formed-looking changes that hang, kill or poison automerge 0.12, and everything else that
//! it would not have written. Each is refused by name, with a correct checksum unless said.

use syncline_engine::change::{Action, Key, ReadError, Value, operations, read};
use syncline_engine::codes::Code;
use syncline_engine::limits::{CHANGE_BYTES_MAX, CHANGE_OPS_MAX, OP_COUNTER_MAX};

use crate::agreement::accepted_and_agreed;
use crate::chunk::{
    ACTION, Draft, EXPAND, INSERT, KEY_ACTOR, KEY_COUNTER, KEY_TEXT, MARK_NAME, OBJ_ACTOR,
    OBJ_COUNTER, PRED_ACTOR, PRED_COUNT, PRED_COUNTER, VALUE, VALUE_KIND, frame, one, signed,
    unsigned,
};

const OTHER: [u8; 16] = [9; 16];

fn refused(draft: &Draft) -> ReadError {
    read(&draft.bytes()).expect_err("an attack")
}

/// `rows` times the row of [`Draft::new`].
fn repeated(rows: i64) -> Draft {
    let run = |cell: &[u8]| [&signed(rows)[..], cell].concat();
    Draft::new()
        .column(KEY_TEXT, run(&[1, b'k']))
        .column(INSERT, unsigned(rows.unsigned_abs()))
        .column(ACTION, run(&[1]))
        .column(VALUE_KIND, run(&[2]))
        .column(PRED_COUNT, run(&[0]))
}

#[test]
fn the_drafts_that_attacks_start_from_are_honest() {
    for draft in [Draft::new(), Draft::insertion(), Draft::new().pred(0, 4), repeated(3)] {
        assert_eq!(read(&draft.bytes()).map(|header| header.seq), Ok(1));
        assert!(accepted_and_agreed(&draft.bytes()));
    }
}

// Resources.

#[test]
fn a_run_of_a_thousand_million_operations() {
    assert_eq!(refused(&repeated(1_000_000_000)), ReadError::TooManyOperations);
}

#[test]
fn a_run_of_a_million_thousand_million_operations() {
    let draft = repeated(1_000_000_000_000_000);
    assert!(draft.bytes().len() < 110);
    assert_eq!(refused(&draft), ReadError::TooManyOperations);
    assert_eq!(refused(&draft).code(), Code::ChangeTooLarge);
    let longest = Draft::new().column(ACTION, [signed(i64::MAX), vec![1]].concat());
    assert_eq!(refused(&longest), ReadError::TooManyOperations);
    let longest_literal = Draft::new().column(ACTION, [signed(i64::MIN), vec![1]].concat());
    assert_eq!(refused(&longest_literal), ReadError::TooManyOperations);
    let nulls = Draft::new().column(KEY_TEXT, [vec![0], unsigned(u64::MAX), one([1, 1])].concat());
    assert_eq!(refused(&nulls), ReadError::TooManyOperations);
}

#[test]
fn as_many_operations_as_allowed_and_one_more() {
    let max = i64::try_from(CHANGE_OPS_MAX).expect("a small limit");
    assert!(accepted_and_agreed(&repeated(max).bytes()));
    assert_eq!(refused(&repeated(max + 1)), ReadError::TooManyOperations);
}

#[test]
fn a_run_of_false_that_claims_too_much() {
    let draft = Draft::new().column(INSERT, unsigned(1_000_000_000_000));
    assert_eq!(refused(&draft), ReadError::TooManyOperations);
}

#[test]
fn a_million_million_predecessors() {
    for claimed in [50_000_000, 1_000_000_000_000, u64::MAX] {
        let draft = Draft::new()
            .pred(0, 1)
            .column(PRED_COUNT, one(unsigned(claimed)))
            .column(PRED_ACTOR, [signed(40_000), vec![0]].concat())
            .column(PRED_COUNTER, [signed(40_000), vec![1]].concat());
        assert_eq!(refused(&draft), ReadError::TooManyPreds);
    }
}

#[test]
fn predecessors_by_the_run_in_every_operation() {
    let rows = 8_000;
    let draft = repeated(rows)
        .column(PRED_COUNT, [signed(rows), vec![3]].concat())
        .column(PRED_ACTOR, [signed(3 * rows), vec![0]].concat())
        .column(PRED_COUNTER, [signed(3 * rows), vec![1]].concat());
    let draft = Draft { start_op: 1_000_000, ..draft };
    assert_eq!(refused(&draft), ReadError::TooManyPreds);
}

#[test]
fn a_deflate_bomb() {
    assert_eq!(read(&frame(2, &[0xff; 1_000])), Err(ReadError::ChunkType(2)));
}

#[test]
fn a_document_or_a_bundle_in_place_of_a_change() {
    assert_eq!(read(&frame(0, &Draft::new().body())), Err(ReadError::ChunkType(0)));
    assert_eq!(read(&frame(3, &Draft::new().body())), Err(ReadError::ChunkType(3)));
    assert_eq!(read(&frame(255, &[])), Err(ReadError::ChunkType(255)));
}

#[test]
fn a_megabyte_in_one_change() {
    let text = vec![b'x'; 1 << 20];
    let draft = Draft::new()
        .column(VALUE_KIND, one(unsigned((text.len() as u64) << 4 | 6)))
        .column(VALUE, text);
    let bytes = draft.bytes();
    assert_eq!(read(&bytes), Err(ReadError::TooLarge(bytes.len())));
    assert_eq!(ReadError::TooLarge(bytes.len()).code(), Code::ChangeTooLarge);
}

#[test]
fn as_many_bytes_as_allowed_and_one_more() {
    let of_text = |length: usize| {
        Draft::new()
            .column(VALUE_KIND, one(unsigned((length as u64) << 4 | 6)))
            .column(VALUE, vec![b'x'; length])
            .bytes()
    };
    let around = of_text(60_000).len() - 60_000;
    let largest = of_text(CHANGE_BYTES_MAX - around);
    assert_eq!(largest.len(), CHANGE_BYTES_MAX);
    assert!(accepted_and_agreed(&largest));
    let larger = of_text(CHANGE_BYTES_MAX - around + 1);
    assert_eq!(read(&larger), Err(ReadError::TooLarge(CHANGE_BYTES_MAX + 1)));
}

#[test]
fn a_million_dependencies_or_too_many_of_them() {
    let deps = |count: u8| (0..count).map(|n| [n; 32]).collect::<Vec<_>>();
    assert!(accepted_and_agreed(&Draft { deps: deps(64), ..Draft::new() }.bytes()));
    assert_eq!(refused(&Draft { deps: deps(65), ..Draft::new() }), ReadError::TooManyDeps);
    let claimed = [unsigned(1_000_000), vec![0; 64]].concat();
    assert_eq!(read(&frame(1, &claimed)), Err(ReadError::Truncated));
}

#[test]
fn too_many_other_actors() {
    let others = (10..75).map(|n| vec![n; 16]).collect();
    assert_eq!(refused(&Draft { others, ..Draft::new() }), ReadError::TooManyActors);
}

#[test]
fn lengths_beyond_the_end() {
    let body = Draft::new().body();
    let mut bytes = vec![0x85, 0x6f, 0x4a, 0x83, 0, 0, 0, 0, 1];
    bytes.extend(unsigned(u64::MAX));
    bytes.extend(&body);
    assert_eq!(read(&bytes), Err(ReadError::Truncated));
    let actor = [vec![0], unsigned(u64::MAX)].concat();
    assert_eq!(read(&frame(1, &actor)), Err(ReadError::Truncated));
    let text = Draft::new().column(KEY_TEXT, one(unsigned(u64::MAX)));
    assert_eq!(refused(&text), ReadError::Truncated);
    let value = Draft::new().column(VALUE_KIND, one(unsigned(!15 | 7)));
    assert_eq!(refused(&value), ReadError::Truncated);
    let columns = Draft { columns: vec![], ..Draft::new() }.body();
    let claimed = [&columns[..columns.len() - 1], &unsigned(1 << 40)[..]].concat();
    assert_eq!(read(&frame(1, &claimed)), Err(ReadError::Truncated));
}

// The frame.

#[test]
fn a_wrong_checksum() {
    let mut bytes = Draft::new().bytes();
    bytes[4] ^= 1;
    assert_eq!(read(&bytes), Err(ReadError::Checksum));
}

#[test]
fn wrong_magic() {
    let mut bytes = Draft::new().bytes();
    bytes[0] ^= 1;
    assert_eq!(read(&bytes), Err(ReadError::Magic));
}

#[test]
fn two_changes_in_one() {
    let bytes = Draft::new().bytes();
    assert_eq!(read(&[&bytes[..], &bytes[..]].concat()), Err(ReadError::Length));
}

#[test]
fn a_length_in_a_longer_spelling() {
    let mut bytes = Draft::new().bytes();
    bytes[9] |= 0x80;
    bytes.insert(10, 0);
    assert_eq!(read(&bytes), Err(ReadError::Number));
}

#[test]
fn an_author_that_nobody_authenticated() {
    let footer = vec![1, 5, b'a', b'd', b'm', b'i', b'n'];
    assert_eq!(refused(&Draft { footer, ..Draft::new() }), ReadError::Footer(7));
}

#[test]
fn a_message_that_is_long_or_no_text() {
    let long = Draft { message: vec![b'm'; 257], ..Draft::new() };
    assert_eq!(refused(&long), ReadError::Message);
    let no_text = Draft { message: vec![0xff], ..Draft::new() };
    assert_eq!(refused(&no_text), ReadError::NotUtf8);
    assert!(accepted_and_agreed(&Draft { message: vec![b'm'; 256], ..Draft::new() }.bytes()));
}

// Who and when.

#[test]
fn an_empty_or_long_actor() {
    assert_eq!(refused(&Draft { actor: vec![], ..Draft::new() }), ReadError::ActorLength(0));
    assert_eq!(refused(&Draft { actor: vec![1; 17], ..Draft::new() }), ReadError::ActorLength(17));
    let huge = Draft { actor: vec![1; 1 << 20], ..Draft::new() };
    assert!(matches!(refused(&huge), ReadError::TooLarge(_)));
    let other = Draft { others: vec![vec![9; 15]], ..Draft::new() };
    assert_eq!(refused(&other), ReadError::ActorLength(15));
}

#[test]
fn seq_zero_or_huge() {
    assert_eq!(refused(&Draft { seq: 0, ..Draft::new() }), ReadError::Seq);
    assert_eq!(refused(&Draft { seq: u64::MAX, ..Draft::new() }), ReadError::Seq);
}

#[test]
fn start_op_zero_or_huge() {
    assert_eq!(refused(&Draft { start_op: 0, ..Draft::new() }), ReadError::Counter);
    assert_eq!(refused(&Draft { start_op: u64::MAX, ..Draft::new() }), ReadError::Counter);
}

#[test]
fn operations_that_count_beyond_the_largest_counter() {
    let draft = Draft { start_op: u64::from(u32::MAX) - 1, ..repeated(3) };
    assert_eq!(refused(&draft), ReadError::Counter);
    let draft = Draft { start_op: OP_COUNTER_MAX - 1, ..repeated(3) };
    assert_eq!(refused(&draft), ReadError::Counter);
    let draft = Draft { start_op: OP_COUNTER_MAX - 2, ..repeated(3) };
    assert!(accepted_and_agreed(&draft.bytes()));
}

#[test]
fn dependencies_out_of_order_or_repeated() {
    for deps in [vec![[2; 32], [1; 32]], vec![[1; 32], [1; 32]]] {
        assert_eq!(refused(&Draft { deps, ..Draft::new() }), ReadError::DepsOrder);
    }
}

#[test]
fn other_actors_that_are_not_used() {
    let draft = Draft { others: vec![OTHER.to_vec()], ..Draft::new() };
    assert_eq!(refused(&draft), ReadError::Actors);
    assert!(accepted_and_agreed(&draft.pred(1, 4).bytes()));
}

#[test]
fn other_actors_out_of_order_repeated_or_the_author() {
    for others in [[8, 7], [7, 7], [5, 7]] {
        let others = others.map(|n| vec![n; 16]).to_vec();
        assert_eq!(refused(&Draft { others, ..Draft::new() }), ReadError::Actors);
    }
}

// References.

#[test]
fn counters_beyond_32_bits_in_objects_keys_and_predecessors() {
    let huge = i64::from(u32::MAX) + 1;
    let obj = Draft::insertion().column(OBJ_COUNTER, one(unsigned(huge.unsigned_abs())));
    assert_eq!(refused(&obj), ReadError::Counter);
    let key = Draft::insertion().column(KEY_ACTOR, one([0])).column(KEY_COUNTER, one(signed(huge)));
    assert_eq!(refused(&key), ReadError::Counter);
    assert_eq!(refused(&Draft::new().pred(0, huge)), ReadError::Counter);
    assert_eq!(refused(&Draft::new().pred(0, i64::MAX)), ReadError::Counter);
}

#[test]
fn counters_that_are_negative_or_overflow() {
    assert_eq!(refused(&Draft::new().pred(0, -1)), ReadError::Counter);
    assert_eq!(refused(&Draft::new().pred(0, 0)), ReadError::Counter);
    let key = Draft::insertion().column(KEY_COUNTER, one(signed(-4)));
    assert_eq!(refused(&key), ReadError::Counter);
    let overflow = Draft::new()
        .column(PRED_COUNT, one([2]))
        .column(PRED_ACTOR, [2, 0])
        .column(PRED_COUNTER, [vec![0x7e, 1], signed(i64::MAX)].concat());
    assert_eq!(refused(&overflow), ReadError::Counter);
}

#[test]
fn actors_out_of_range_in_objects_keys_and_predecessors() {
    for actor in [1, 255, 256, u64::MAX] {
        let obj = Draft::insertion().column(OBJ_ACTOR, one(unsigned(actor)));
        assert_eq!(refused(&obj), ReadError::ActorIndex);
        let key = Draft::insertion()
            .column(KEY_ACTOR, one(unsigned(actor)))
            .column(KEY_COUNTER, one([3]));
        assert_eq!(refused(&key), ReadError::ActorIndex);
        assert_eq!(refused(&Draft::new().pred(actor, 3)), ReadError::ActorIndex);
    }
}

#[test]
fn an_operation_that_overwrites_itself_or_the_future() {
    assert_eq!(refused(&Draft::new().pred(0, 10)), ReadError::Counter);
    assert_eq!(refused(&Draft::new().pred(0, 11)), ReadError::Counter);
    let other = Draft { others: vec![OTHER.to_vec()], ..Draft::new() };
    assert_eq!(refused(&other.pred(1, 10)), ReadError::Counter);
}

#[test]
fn an_object_that_contains_itself() {
    let draft = Draft::new()
        .column(OBJ_ACTOR, one([0]))
        .column(OBJ_COUNTER, one([10]))
        .column(ACTION, one([0]))
        .column(VALUE_KIND, one([0]));
    assert_eq!(refused(&draft), ReadError::Counter);
}

#[test]
fn predecessors_out_of_order_or_repeated() {
    let pair = |actors: &[u8], second: i64| {
        let draft = Draft { others: vec![OTHER.to_vec()], ..Draft::new() };
        draft
            .column(PRED_COUNT, one([2]))
            .column(PRED_ACTOR, actors)
            .column(PRED_COUNTER, [vec![0x7e, 4], signed(second)].concat())
    };
    // 4 by the author, then 4 by another actor, who sorts after the author.
    assert!(accepted_and_agreed(&pair(&[0x7e, 0, 1], 0).bytes()));
    assert_eq!(refused(&pair(&[0x7e, 1, 0], 0)), ReadError::PredsOrder);
    assert_eq!(refused(&pair(&[0x7e, 1, 0], -1)), ReadError::PredsOrder);
    assert_eq!(refused(&pair(&[2, 0], 0)), ReadError::PredsOrder);
}

#[test]
fn half_an_object_or_key() {
    let obj = Draft::insertion().column(OBJ_ACTOR, []);
    assert_eq!(refused(&obj), ReadError::BadReference);
    let obj = Draft::insertion().column(OBJ_COUNTER, []);
    assert_eq!(refused(&obj), ReadError::BadReference);
    let key = Draft::insertion().column(KEY_COUNTER, []);
    assert_eq!(refused(&key), ReadError::BadReference);
    let key = Draft::insertion().column(KEY_COUNTER, []).column(KEY_ACTOR, one([0]));
    assert_eq!(refused(&key), ReadError::BadReference);
    let both = Draft::insertion().column(KEY_TEXT, one([1, b'k']));
    assert_eq!(refused(&both), ReadError::BadReference);
    let element_zero = Draft::insertion().column(KEY_ACTOR, one([0]));
    assert_eq!(refused(&element_zero), ReadError::Counter);
}

// Columns.

#[test]
fn an_unknown_or_deflated_column() {
    for spec in [0x08, 0x03, 0x21, 0x4a, 0x5e, 0x80, 0xb0, u64::MAX] {
        let draft = Draft::new().column(spec, one([1]));
        assert_eq!(refused(&draft), ReadError::UnknownColumn(spec));
    }
}

#[test]
fn columns_out_of_order_repeated_or_empty() {
    let mut swapped = Draft::new();
    swapped.columns.swap(0, 1);
    assert_eq!(refused(&swapped), ReadError::ColumnOrder);
    let mut repeated = Draft::new();
    repeated.columns.insert(1, (KEY_TEXT, one([1, b'k'])));
    assert_eq!(refused(&repeated), ReadError::ColumnOrder);
    let mut empty = Draft::new();
    empty.columns.push((0xa5, vec![]));
    assert_eq!(refused(&empty), ReadError::ColumnOrder);
    let mut many = Draft::new();
    many.columns = (1..=15).map(|spec| (spec, vec![1])).collect();
    assert_eq!(refused(&many), ReadError::ColumnOrder);
}

#[test]
fn columns_with_more_or_fewer_rows() {
    for (spec, two_rows) in [
        (KEY_TEXT, vec![2, 1, b'k']),
        (INSERT, vec![2]),
        (ACTION, vec![2, 1]),
        (VALUE_KIND, vec![2, 2]),
        (PRED_COUNT, vec![2, 0]),
    ] {
        assert_eq!(refused(&Draft::new().column(spec, two_rows)), ReadError::RowsDisagree);
        let error = refused(&Draft::new().column(spec, []));
        let missing = [ReadError::RowsDisagree, ReadError::Null, ReadError::BadReference];
        assert!(missing.contains(&error), "{error:?} without {spec:#x}");
    }
    let preds = Draft::new().pred(0, 4).column(PRED_ACTOR, [2, 0]);
    assert_eq!(refused(&preds), ReadError::RowsDisagree);
    let preds = Draft::new().pred(0, 4).column(PRED_COUNT, one([0]));
    assert_eq!(refused(&preds), ReadError::RowsDisagree);
    let preds = Draft::new().column(PRED_COUNT, one([1]));
    assert_eq!(refused(&preds), ReadError::Null);
}

#[test]
fn columns_without_operations() {
    let draft = Draft { columns: vec![(INSERT, vec![1])], ..Draft::new() };
    assert_eq!(refused(&draft), ReadError::RowsDisagree);
    let empty = Draft { columns: vec![], ..Draft::new() };
    assert_eq!(read(&empty.bytes()).map(|header| (header.ops, header.max_op())), Ok((0, 9)));
    assert!(accepted_and_agreed(&empty.bytes()));
}

#[test]
fn a_column_in_another_spelling() {
    let run_of_one = Draft::new().column(ACTION, [1, 1]);
    assert_eq!(refused(&run_of_one), ReadError::NotCanonical);
    let all_null = Draft::new().column(MARK_NAME, [0, 1]);
    assert_eq!(refused(&all_null), ReadError::NotCanonical);
    let all_false = Draft::new().column(EXPAND, [1]);
    assert_eq!(refused(&all_false), ReadError::NotCanonical);
    let long_number = Draft::new().column(ACTION, one([0x81, 0]));
    assert_eq!(refused(&long_number), ReadError::Number);
}

// Values and actions.

fn with_value(kind: u64, bytes: &[u8]) -> Draft {
    Draft::new().column(VALUE_KIND, one(unsigned(kind))).column(VALUE, bytes)
}

#[test]
fn a_value_of_unknown_type() {
    for kind in 10..16 {
        assert_eq!(refused(&with_value(kind | 1 << 4, &[0])), ReadError::UnknownValue(kind));
    }
}

#[test]
fn a_value_whose_length_is_not_its_own() {
    assert_eq!(refused(&with_value(1 << 4, &[0])), ReadError::ValueLength); // null
    assert_eq!(refused(&with_value(1 << 4 | 2, &[0])), ReadError::ValueLength); // true
    assert_eq!(refused(&with_value(2 << 4 | 3, &[1, 1])), ReadError::ValueLength); // uint
    assert_eq!(refused(&with_value(2 << 4 | 3, &[0x81, 0])), ReadError::Number);
    assert_eq!(refused(&with_value(4, &[])), ReadError::Truncated); // int
    assert_eq!(refused(&with_value(7 << 4 | 5, &[0; 7])), ReadError::Truncated); // float
    assert_eq!(refused(&with_value(9 << 4 | 5, &[0; 9])), ReadError::ValueLength);
    assert_eq!(refused(&with_value(1 << 4 | 6, &[0xff])), ReadError::NotUtf8);
    assert_eq!(refused(&with_value(2, &[0])), ReadError::ValueLength); // nothing claims it
}

#[test]
fn every_value_is_read_as_it_is() {
    for (kind, bytes, value) in [
        (0, &[][..], Value::Null),
        (1, &[], Value::Bool(false)),
        (2 << 4 | 3, &[0x80, 1], Value::Uint(128)),
        (1 << 4 | 4, &[0x7f], Value::Int(-1)),
        (8 << 4 | 5, &[0, 0, 0, 0, 0, 0, 0xf8, 0x3f], Value::Float(1.5)),
        (2 << 4 | 6, "é".as_bytes(), Value::Str("é")),
        (1 << 4 | 7, &[0xff], Value::Bytes(&[0xff])),
        (1 << 4 | 8, &[3], Value::Counter(3)),
        (1 << 4 | 9, &[0x40], Value::Timestamp(-64)),
    ] {
        let change = with_value(kind, bytes).bytes();
        let (_, ops) = operations(&change).expect("a plain set");
        assert!(ops.iter().all(|op| op.action == Action::Set(value) && op.key == Key::Map("k")));
        assert_eq!((ops.len(), ops.is_empty()), (1, false));
        assert!(accepted_and_agreed(&change));
    }
}

#[test]
fn a_table_or_an_unknown_action() {
    for code in [6, 8, 255, u64::MAX] {
        let draft = Draft::new().column(ACTION, one(unsigned(code))).column(VALUE_KIND, one([0]));
        assert_eq!(refused(&draft), ReadError::UnknownAction(code));
    }
}

#[test]
fn an_increment_by_something_else_than_a_number() {
    let increment =
        |kind, bytes: &[u8]| with_value(kind, bytes).pred(0, 4).column(ACTION, one([5]));
    assert_eq!(refused(&increment(1 << 4 | 6, b"x")), ReadError::BadOperation);
    assert_eq!(refused(&increment(1 << 4 | 3, &[1])), ReadError::BadOperation);
    assert!(accepted_and_agreed(&increment(1 << 4 | 4, &[1]).bytes()));
}

#[test]
fn a_deletion_or_a_new_object_with_a_value() {
    for code in [0, 2, 3, 4] {
        let draft = Draft::new().pred(0, 4).column(ACTION, one([code]));
        assert_eq!(refused(&draft), ReadError::BadOperation);
        assert!(accepted_and_agreed(&draft.column(VALUE_KIND, one([0])).bytes()));
    }
}

#[test]
fn a_deletion_or_increment_of_nothing() {
    let delete = Draft::new().column(ACTION, one([3])).column(VALUE_KIND, one([0]));
    assert_eq!(refused(&delete), ReadError::BadOperation);
    let increment = with_value(1 << 4 | 4, &[1]).column(ACTION, one([5]));
    assert_eq!(refused(&increment), ReadError::BadOperation);
}

#[test]
fn an_insertion_that_deletes_or_overwrites() {
    let delete = Draft::insertion().column(ACTION, one([3])).column(VALUE_KIND, one([0]));
    assert_eq!(refused(&delete), ReadError::BadOperation);
    assert_eq!(refused(&Draft::insertion().pred(0, 4)), ReadError::BadOperation);
}

#[test]
fn an_element_set_over_nothing() {
    let draft = Draft::insertion()
        .column(INSERT, [1])
        .column(KEY_ACTOR, one([0]))
        .column(KEY_COUNTER, one([4]));
    assert_eq!(refused(&draft), ReadError::BadOperation);
    assert!(accepted_and_agreed(&draft.pred(0, 4).bytes()));
}

#[test]
fn list_operations_on_maps_and_the_root() {
    let in_root = Draft::insertion().column(OBJ_ACTOR, []).column(OBJ_COUNTER, []);
    assert_eq!(refused(&in_root), ReadError::BadOperation);
    let in_map = Draft::new().column(INSERT, [0, 1]);
    assert_eq!(refused(&in_map), ReadError::BadOperation);
    let set_head = Draft::insertion().column(INSERT, [1]).pred(0, 4);
    assert_eq!(refused(&set_head), ReadError::BadOperation);
}

#[test]
fn marks_on_maps_and_marks_that_are_no_marks() {
    let on_map = Draft::new().column(ACTION, one([7])).column(MARK_NAME, one([1, b'b']));
    assert_eq!(refused(&on_map), ReadError::BadOperation);
    let end_on_map = Draft::new().column(ACTION, one([7])).column(VALUE_KIND, one([0]));
    assert_eq!(refused(&end_on_map), ReadError::BadOperation);
    let named_put = Draft::new().column(MARK_NAME, one([1, b'b']));
    assert_eq!(refused(&named_put), ReadError::BadOperation);
    let expanding_put = Draft::new().column(EXPAND, [0, 1]);
    assert_eq!(refused(&expanding_put), ReadError::BadOperation);
    let end_with_value = Draft::insertion().column(ACTION, one([7]));
    assert_eq!(refused(&end_with_value), ReadError::BadOperation);
    let mark = end_with_value.column(MARK_NAME, one([1, b'b'])).column(EXPAND, [0, 1]);
    assert!(accepted_and_agreed(&mark.bytes()));
    let not_a_number =
        mark.column(VALUE_KIND, one(unsigned(8 << 4 | 5))).column(VALUE, f64::NAN.to_le_bytes());
    assert_eq!(refused(&not_a_number), ReadError::BadOperation);
}
