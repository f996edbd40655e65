use unskew::{CallError, Module, Store};
use unskew_frame::{Column, ColumnType, Value};

use super::answers::{changed, frame, numbers, right, texts};
use super::guest::{BAD_ROWS, Function, Guest, Import, OUTPUT, RESULT, empty_component, load, nest, section};

use Expected::{Answered, Failed, Loaded, Published};
use Function::{Apply, Batch, Fold, Merge, Read};

/// Something that a transform could do, and what must become of it.
pub struct Case {
    /// What it does, in a few words.
    pub name: &'static str,
    /// Where it ends.
    pub expected: Expected,
    component: Component,
}

/// Where it must end, and a text that people must then read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It is not published.
    Published(&'static str),
    /// It is not loaded.
    Loaded(&'static str),
    /// The call fails; the next one, of a good batch, is answered.
    Failed(CallError, &'static str),
    /// It is answered like any other: there is nothing wrong with it.
    Answered,
}

enum Component {
    Guest(Box<Guest>),
    Text(String),
    Bytes(Vec<u8>),
}

impl Case {
    fn new(name: &'static str, expected: Expected, guest: Guest) -> Self {
        let guest = Guest {
            name: name.replace(' ', "-"),
            ..guest
        };
        Self {
            name,
            expected,
            component: Component::Guest(Box::new(guest)),
        }
    }

    /// With these further fields of the core module.
    fn with_fields(mut self, fields: &str) -> Self {
        if let Component::Guest(guest) = &mut self.component {
            fields.clone_into(&mut guest.fields);
        }
        self
    }

    fn text(name: &'static str, expected: Expected, text: String) -> Self {
        Self {
            name,
            expected,
            component: Component::Text(text),
        }
    }

    /// What it is made of, where it can be called.
    pub fn guest(&self) -> Option<&Guest> {
        match &self.component {
            Component::Guest(guest) => Some(guest),
            Component::Text(_) | Component::Bytes(_) => None,
        }
    }

    /// Publishes, compiles and loads it.
    ///
    /// # Errors
    /// What it must end with unless it can be called.
    pub fn load_into(&self, store: &Store) -> Result<Module, String> {
        match &self.component {
            Component::Guest(guest) => guest.load_into(store),
            Component::Bytes(bytes) => load(store, bytes),
            Component::Text(text) => load(
                store,
                &wat::parse_str(text).unwrap_or_else(|error| panic!("{}: {error}", self.name)),
            ),
        }
    }
}

/// Loops for ever.
const FOREVER: &str = "(loop $forever (br $forever))";
/// In bytes, behind what a guest has in its memory.
const FREE: u32 = 40_960;

fn does(name: &'static str, function: Function, instructions: &str, error: CallError, detail: &'static str) -> Case {
    Case::new(name, Failed(error, detail), Guest::does(function, instructions))
}

fn traps(name: &'static str, instructions: &str, detail: &'static str) -> Case {
    does(name, Apply, instructions, CallError::Trap, detail)
}

/// With these further fields of the core module.
fn traps_with(name: &'static str, fields: &str, instructions: &str, detail: &'static str) -> Case {
    let guest = Guest {
        fields: fields.to_owned(),
        ..Guest::does(Apply, instructions)
    };
    Case::new(name, Failed(CallError::Trap, detail), guest)
}

fn answers(name: &'static str, words: Vec<u64>, detail: &'static str) -> Case {
    Case::new(name, Failed(CallError::Output, detail), Guest::answers(Apply, words))
}

/// A result that lies where it says, whatever is there.
fn result(name: &'static str, error: CallError, result: [u32; 4], detail: &'static str) -> Case {
    let guest = Guest {
        result,
        ..Guest::default()
    };
    Case::new(name, Failed(error, detail), guest)
}

fn describes(name: &'static str, instructions: String, detail: &'static str) -> Case {
    let guest = Guest {
        describe: instructions,
        ..Guest::default()
    };
    Case::new(name, Loaded(detail), guest)
}

fn with(name: &'static str, expected: Expected, modules: &[(&str, usize)]) -> Case {
    let guest = Guest {
        modules: modules
            .iter()
            .map(|(module, count)| ((*module).to_owned(), *count))
            .collect(),
        ..Guest::default()
    };
    Case::new(name, expected, guest)
}

/// Every case.
pub fn cases() -> Vec<Case> {
    let mut cases = loops();
    cases.extend(bombs());
    cases.extend(faults());
    cases.extend(results());
    cases.extend(frames());
    cases.extend(texts_and_vectors());
    cases.extend(aggregates());
    cases.extend(descriptors());
    cases.extend(instantiations());
    cases.extend(imports());
    cases.extend(lookalikes());
    cases.extend(features());
    cases
}

/// In every place where a component runs.
fn loops() -> Vec<Case> {
    let late = |name, function| does(name, function, FOREVER, CallError::Deadline, "interrupt");
    let realloc = |name, function| {
        let guest = Guest {
            realloc: FOREVER.to_owned(),
            ..Guest::does(function, "")
        };
        Case::new(name, Failed(CallError::Deadline, "interrupt"), guest)
    };
    let post_return = |name, function, words| {
        let guest = Guest {
            post_return: FOREVER.to_owned(),
            ..Guest::answers(function, words)
        };
        Case::new(name, Failed(CallError::Deadline, "interrupt"), guest)
    };
    let start = Guest {
        start: FOREVER.to_owned(),
        ..Guest::default()
    };
    vec![
        late("loop in apply", Apply),
        late("loop in fold", Fold),
        late("loop in merge", Merge),
        late("loop in read", Read),
        late("loop in batch", Batch),
        realloc("loop in realloc", Apply),
        realloc("loop in realloc of an aggregate", Read),
        post_return("loop after the return", Apply, right()),
        post_return("loop after the return of an aggregate", Read, right()),
        describes("loop in describe", FOREVER.to_owned(), "interrupt"),
        Case::new("loop at the start", Loaded("interrupt"), start),
        with("loop at the start of another module", Loaded("interrupt"), &[(
            "(module (func $start (loop $forever (br $forever))) (start $start))",
            1,
        )]),
        does(
            "calls without a loop",
            Apply,
            "(call $deep (i32.const 28))",
            CallError::Deadline,
            "interrupt",
        )
        .with_fields(
            "(func $deep (param i32) (if (local.get 0) (then
                (call $deep (i32.sub (local.get 0) (i32.const 1))) (call $deep (i32.sub (local.get 0) (i32.const 1)))
                (call $deep (i32.sub (local.get 0) (i32.const 1))) (call $deep (i32.sub (local.get 0) (i32.const 1))))))",
        ),
    ]
}

/// What takes ever more of something.
fn bombs() -> Vec<Case> {
    let late = |name, instructions: &str| does(name, Apply, instructions, CallError::Deadline, "interrupt");
    let grown = "(drop (memory.grow (i32.const 60)))";
    vec![
        traps(
            "memory a page at a time",
            "(loop $more (drop (memory.grow (i32.const 1))) (br $more))",
            "memory",
        ),
        traps("memory at once", "(drop (memory.grow (i32.const 65535)))", "memory"),
        traps(
            "memory in negative pages",
            "(drop (memory.grow (i32.const -1)))",
            "memory",
        ),
        traps_with(
            "table a row at a time",
            "(table $table 1 funcref)",
            "(loop $more (drop (table.grow $table (ref.null func) (i32.const 1))) (br $more))",
            "table",
        ),
        traps_with(
            "table at once",
            "(table $table 1 funcref)",
            "(drop (table.grow $table (ref.null func) (i32.const -1)))",
            "table",
        ),
        late(
            "fills of all memory",
            &format!(
                "{grown} (loop $more (memory.fill (i32.const {FREE}) (i32.const 7) (i32.const 3900000)) (br $more))"
            ),
        ),
        late(
            "copies of all memory",
            &format!(
                "{grown} (loop $more (memory.copy (i32.const {}) (i32.const {FREE}) (i32.const 3800000)) (br $more))",
                FREE + 1
            ),
        ),
        late(
            "fills of a table",
            "(loop $more (table.fill $table (i32.const 0) (ref.null func) (i32.const 9000)) (br $more))",
        )
        .with_fields("(table $table 9000 funcref)"),
        late(
            "every page touched for ever",
            &format!(
                "{grown} (loop $more (i32.store (local.get $i) (i32.const 1))
                (local.set $i (i32.rem_u (i32.add (local.get $i) (i32.const 4096)) (i32.const 3900000)))
                (local.set $i (i32.add (i32.const {FREE}) (i32.rem_u (local.get $i) (i32.const 3800000)))) (br $more))"
            ),
        ),
        traps(
            "recursion",
            "(call $Apply (local.get $at0) (local.get $len0)) (drop)",
            "call stack exhausted",
        ),
        traps_with(
            "recursion through a table",
            "(type $f (func (param i32 i32) (result i32))) (table $table 1 funcref) (elem (i32.const 0) $Apply)",
            "(call_indirect (type $f) (local.get $at0) (local.get $len0) (i32.const 0)) (drop)",
            "call stack exhausted",
        ),
        traps_with(
            "recursion in wide frames",
            &wide_frame(),
            "(drop (call $wide (i64.const 1)))",
            "call stack exhausted",
        ),
    ]
}

/// A function that keeps hundreds of values over its call of itself.
fn wide_frame() -> String {
    let sets: String = (0..400)
        .map(|local| {
            format!(
                "(local.set $l{local} (i64.mul (local.get $x) (i64.const {})))",
                2 * local + 3
            )
        })
        .collect();
    let sums: String = (0..400)
        .map(|local| format!("(local.set $x (i64.xor (local.get $x) (local.get $l{local})))"))
        .collect();
    let locals: String = (0..400).map(|local| format!("(local $l{local} i64)")).collect();
    format!(
        "(func $wide (param $x i64) (result i64) {locals} {sets}
            (local.set $x (call $wide (i64.add (local.get $x) (i64.const 1)))) {sums} (local.get $x))"
    )
}

/// What ends a call at once.
fn faults() -> Vec<Case> {
    vec![
        traps("unreachable", "(unreachable)", "unreachable"),
        traps(
            "division by zero",
            "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
            "divide by zero",
        ),
        traps(
            "division that overflows",
            "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
            "overflow",
        ),
        traps(
            "integer of no number",
            "(drop (i32.trunc_f64_s (f64.const nan)))",
            "integer",
        ),
        traps(
            "load beyond the memory",
            "(drop (i32.load (i32.const -1)))",
            "out of bounds",
        ),
        traps(
            "load beyond by its offset",
            "(drop (i64.load offset=0xffffffff (i32.const -1)))",
            "out of bounds",
        ),
        traps(
            "store beyond the memory",
            "(i32.store (i32.const 65535) (i32.const 1))",
            "out of bounds",
        ),
        traps(
            "fill beyond the memory",
            "(memory.fill (i32.const 1) (i32.const 0) (i32.const -1))",
            "out of bounds",
        ),
        traps(
            "copy beyond the memory",
            "(memory.copy (i32.const 0) (i32.const 65000) (i32.const 9000))",
            "out of bounds",
        ),
        traps_with(
            "call of nothing",
            "(type $f (func)) (table 1 funcref)",
            "(call_indirect (type $f) (i32.const 0))",
            "uninitialized",
        ),
        traps_with(
            "call beyond the table",
            "(type $f (func)) (table 1 funcref)",
            "(call_indirect (type $f) (i32.const 77))",
            "undefined element",
        ),
        traps_with(
            "call of another type",
            "(type $f (func)) (table 1 funcref) (elem (i32.const 0) $Apply)",
            "(call_indirect (type $f) (i32.const 0))",
            "type mismatch",
        ),
        Case::new(
            "trap in realloc",
            Failed(CallError::Trap, "unreachable"),
            Guest {
                realloc: "(unreachable)".to_owned(),
                ..Guest::default()
            },
        ),
        Case::new(
            "trap after the return",
            Failed(CallError::Trap, "unreachable"),
            Guest {
                post_return: "(unreachable)".to_owned(),
                ..Guest::answers(Apply, right())
            },
        ),
        does("trap in read", Read, "(unreachable)", CallError::Trap, "unreachable"),
    ]
}

/// Pointers and lengths, from the allocation and of results.
fn results() -> Vec<Case> {
    let realloc = |name, address: &str, detail| {
        let guest = Guest {
            realloc: format!("(return {address})"),
            ..Guest::default()
        };
        Case::new(name, Failed(CallError::Trap, detail), guest)
    };
    let at = |name, address: i64| traps(name, &format!("(return (i32.const {address}))"), "");
    let list = |name, at: u32, len: u32| result(name, CallError::Trap, [0, at, len, 0], "");
    let error = |name, kind: u32, at: u32, len: u32| result(name, CallError::Trap, [1, kind, at, len], "");
    let words_of_error = |words: Vec<u64>, bytes: u32| Guest {
        result: [1, 0, OUTPUT, bytes],
        ..Guest {
            output: words,
            ..Guest::default()
        }
    };
    vec![
        realloc("allocation at a negative address", "(i32.const -8)", "realloc return"),
        realloc("allocation beyond the memory", "(i32.const 65536)", "realloc return"),
        realloc("allocation over the end", "(i32.const 65528)", "realloc return"),
        realloc("allocation out of line", "(i32.const 4097)", "realloc return"),
        at("result at a negative address", -4),
        at("result over the end", 65_532),
        at("result out of line", i64::from(RESULT) + 17),
        list("list over the end", 65_528, 2),
        list("list at the last address", u32::MAX - 7, 1),
        list("list that wraps", u32::MAX - 7, 2),
        list("list of every address", OUTPUT, u32::MAX),
        list("list of bytes beyond u32", 8, 0x2000_0001),
        list("list out of line", OUTPUT + 4, 1),
        result("neither ok nor err", CallError::Trap, [2, OUTPUT, 0, 0], ""),
        error("an error of no case", 9, OUTPUT, 1),
        error("an error beyond the memory", 0, 65_530, 77),
        Case::new(
            "an error that is not text",
            Failed(CallError::Trap, "utf-8"),
            words_of_error(vec![u64::MAX], 8),
        ),
        Case::new(
            "an error of nothing",
            Failed(CallError::Refused, "frame: "),
            words_of_error(Vec::new(), 0),
        ),
        Case::new(
            "an error as long as a book",
            Failed(CallError::Refused, "frame: aaaa"),
            words_of_error(vec![0x6161_6161_6161_6161; 3_000], 24_000),
        ),
        Case::new(
            "an error beyond what may cross",
            Failed(CallError::Trap, "fuel"),
            Guest {
                result: [1, 0, FREE, 2 << 20],
                ..Guest::does(
                    Apply,
                    &format!(
                        "(drop (memory.grow (i32.const 40))) (return (i32.const {}))",
                        RESULT + 16
                    ),
                )
            },
        ),
        Case::new(
            "a list beyond what may cross",
            Failed(CallError::Trap, "fuel"),
            Guest {
                result: [0, FREE, 200_000, 0],
                ..Guest::does(
                    Apply,
                    &format!(
                        "(drop (memory.grow (i32.const 40))) (return (i32.const {}))",
                        RESULT + 16
                    ),
                )
            },
        ),
        Case::new(
            "a list of everything",
            Failed(CallError::Output, "magic"),
            Guest {
                result: [0, 0, 8_192, 0],
                ..Guest::default()
            },
        ),
    ]
}

/// Frames of numbers.
fn frames() -> Vec<Case> {
    let rows = |rows: usize| frame(&[&numbers(rows)], rows);
    let change = |word, bits| changed(right(), word, bits);
    let mut missing = Column::new(ColumnType::F64);
    (0..BAD_ROWS).for_each(|_| missing.push_null());
    let mut integers = Column::new(ColumnType::I64);
    (0..BAD_ROWS as i64).for_each(|row| integers.push_i64(row));
    let mut longer = right();
    longer.push(0);
    let mut shorter = right();
    shorter.pop();
    // Longer than its 17 words by as many as there are, which are said to be a row each.
    let mut many = vec![0; 1_000];
    many[..17].copy_from_slice(&right());
    many[1] = 900 | 1_000 << 32;
    vec![
        answers("no words", Vec::new(), "length"),
        answers("zeros", vec![0; 4], "magic"),
        answers("one word", vec![right()[0]], "length"),
        answers("another magic", change(0, 1), "magic"),
        answers("another version", change(0, 3 << 32), "version"),
        answers("no columns", frame(&[], BAD_ROWS), "number of columns"),
        answers(
            "two columns for one",
            frame(&[&numbers(BAD_ROWS), &numbers(BAD_ROWS)], BAD_ROWS),
            "number of columns",
        ),
        answers("more columns than words", change(0, 0xfff << 48), ""),
        answers("a row too few", rows(BAD_ROWS - 1), "12 rows came back for 13"),
        answers("a row too many", rows(BAD_ROWS + 1), "14 rows came back for 13"),
        answers("no rows", rows(0), "0 rows came back for 13"),
        answers("a row count beyond the words", change(1, 1 << 20), ""),
        answers(
            "the largest row count",
            change(1, 0xffff_ffff ^ BAD_ROWS as u64),
            "more rows",
        ),
        answers("many rows", many, "900 rows came back for 13"),
        answers("a length too great", change(1, 1 << 40), "length"),
        answers("a word too many", longer, "length"),
        answers("a word too few", shorter, "length"),
        answers("another type", frame(&[&integers], BAD_ROWS), "of another type"),
        answers("a type that there is not", change(2, 0x70), "of another type"),
        answers("a length of no vector", change(2, 1 << 32), "of another type"),
        answers(
            "missing values",
            frame(&[&missing], BAD_ROWS),
            "output `x` has missing values and is declared without",
        ),
        answers("a validity that is not there", change(2, 1 << 8), "outside"),
        answers(
            "a validity beyond",
            changed(change(2, 1 << 8), 3, 0xffff_0000),
            "outside",
        ),
        answers("a validity nobody announced", change(3, 5), "outside"),
        answers("reserved bits", change(2, 1 << 20), "reserved"),
        answers("data in the directory", change(3, (4 ^ 1) << 32), "outside"),
        answers("data in the header", change(3, 4 << 32), "outside"),
        answers("data over the end", change(3, 1 << 32), "outside"),
        answers("data far beyond", change(3, 1 << 62), "outside"),
        Case::new(
            "a scalar for every row",
            Answered,
            Guest::answers(Apply, {
                let seven = Column::scalar(ColumnType::F64, Value::F64(7.0)).expect("a scalar");
                frame(&[&seven], BAD_ROWS)
            }),
        ),
        Case::new(
            "a missing scalar",
            Failed(CallError::Output, "missing values"),
            Guest::answers(Apply, {
                let missing = Column::scalar(ColumnType::F64, Value::Null).expect("a scalar");
                frame(&[&missing], BAD_ROWS)
            }),
        ),
        Case::new(
            "numbers that are none",
            Answered,
            Guest::answers(Apply, {
                let mut words = right();
                words[4..7].copy_from_slice(&[0x7ff8_0000_0000_0001, 0xfff8_dead_beef_0000, 0x7ff0_0000_0000_0001]);
                words
            }),
        ),
    ]
}

/// Frames of strings and of vectors.
fn texts_and_vectors() -> Vec<Case> {
    let text = |name, words: Vec<u64>, detail| {
        let guest = Guest {
            case: 5,
            ..Guest::answers(Apply, words)
        };
        Case::new(name, Failed(CallError::Output, detail), guest)
    };
    let words = || frame(&[&texts()], BAD_ROWS);
    let change = |word, bits| changed(words(), word, bits);
    let last = words().len() - 1;
    // Two words of header and two of directory; offsets are half words, two to a word; the bytes come last.
    let offsets = 4;
    let mut split = words();
    // The first text ends within a letter of two bytes.
    split[offsets + 7] = u64::from_le_bytes(*b"tex\xc3\xa9ext");
    // Written out for each row it would be beyond the limit.
    let long = "a".repeat(90_000);
    let scalar = Column::scalar(ColumnType::String, Value::String(&long)).expect("a scalar");
    let wide = Guest {
        case: 5,
        pages: 3,
        ..Guest::answers(Apply, frame(&[&scalar], BAD_ROWS))
    };
    let vector = |name, len| {
        let guest = Guest {
            case: 7,
            vector_len: len,
            ..Guest::default()
        };
        Case::new(name, Loaded("is a vector of length"), guest)
    };
    vec![
        text("text that is none", change(last, 0x80), "UTF-8"),
        text("text cut within a letter", split, "UTF-8"),
        text("offsets that descend", change(offsets, 1 << 63), "offsets"),
        text("offsets that begin late", change(offsets, 1), "offsets"),
        text("offsets beyond the bytes", change(offsets + 6, 0xffff << 40), ""),
        Case::new(
            "a long text for every row",
            Failed(CallError::Output, "beyond the limit"),
            wide,
        ),
        vector("a vector of nothing", 0),
        vector("a vector too long", 16_385),
        vector("the longest vector", u32::MAX),
    ]
}

/// What only aggregates have.
fn aggregates() -> Vec<Case> {
    let states = |rows: usize| {
        let mut states = Column::new(ColumnType::Bytes);
        (0..rows).for_each(|_| states.push_bytes(b"another"));
        frame(&[&states], rows)
    };
    let lies = |name, function, words: Vec<u64>, detail| {
        Case::new(name, Failed(CallError::Output, detail), Guest::answers(function, words))
    };
    let refuses = |name, function, result, detail| {
        let guest = Guest {
            result,
            ..Guest::answers(function, vec![u64::from_le_bytes(*b"a state!")])
        };
        Case::new(name, Failed(CallError::Refused, detail), guest)
    };
    let overlapping = changed(states(BAD_ROWS), 3, 1 << 32);
    vec![
        lies(
            "a state too few",
            Fold,
            states(BAD_ROWS - 1),
            "12 rows came back for 13",
        ),
        lies(
            "a state too many",
            Merge,
            states(BAD_ROWS + 1),
            "14 rows came back for 13",
        ),
        lies("numbers for states", Fold, right(), "of another type"),
        lies("states for numbers", Read, states(BAD_ROWS), "of another type"),
        lies("states out of their place", Merge, overlapping, ""),
        lies(
            "answers to fewer queries",
            Read,
            frame(&[&numbers(1)], 1),
            "1 rows came back for 13",
        ),
        lies(
            "answers to fewer queries of a batch",
            Batch,
            frame(&[&numbers(0)], 0),
            "0 rows came back for 13",
        ),
        lies("no frame for a batch", Batch, Vec::new(), "length"),
        refuses("a state of another version", Read, [1, 1, 77, 0], "version 0x0000004d"),
        refuses("a damaged state", Merge, [1, 2, OUTPUT, 8], "a state! is damaged"),
        refuses(
            "a query before its state",
            Batch,
            [1, 3, OUTPUT, 8],
            "a state! is not later",
        ),
        does("a fault in fold", Fold, "(unreachable)", CallError::Trap, "unreachable"),
        does(
            "recursion in merge",
            Merge,
            "(call $Merge (local.get $at0) (local.get $len0) (local.get $at1) (local.get $len1)) (drop)",
            CallError::Trap,
            "call stack exhausted",
        ),
        does(
            "memory in batch",
            Batch,
            "(loop $more (drop (memory.grow (i32.const 1))) (br $more))",
            CallError::Trap,
            "memory",
        ),
    ]
}

/// What a component says of itself.
fn descriptors() -> Vec<Case> {
    let store = |address: u32, value: i64| format!("(i32.store (i32.const {address}) (i32.const {value}))");
    // So many columns from 64 KiB on, each called by the two letters of its own.
    let columns = |count: u32| {
        format!(
            "(drop (memory.grow (i32.const 60)))
            (local.set $at (i32.const 65536))
            (loop $more
                (i32.store (local.get $at) (i32.add (i32.const 3000000) (i32.mul (local.get $i) (i32.const 4))))
                (i32.store offset=4 (local.get $at) (i32.const 4))
                (i32.store offset=20 (local.get $at) (i32.const 256))
                (i32.store (i32.load (local.get $at)) (i32.or (i32.const 0x40404040) (i32.or
                    (i32.and (local.get $i) (i32.const 31))
                    (i32.or (i32.shl (i32.and (local.get $i) (i32.const 992)) (i32.const 3))
                            (i32.shl (i32.and (local.get $i) (i32.const 31744)) (i32.const 6))))))
                (local.set $at (i32.add (local.get $at) (i32.const 28)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $more (i32.lt_u (local.get $i) (i32.const {count}))))
            (i32.store offset=32 (i32.const 0) (i32.const 65536))
            (i32.store offset=36 (i32.const 0) (i32.const {count}))"
        )
    };
    // From 64 KiB on, in letters.
    let long_name = |at: u32, bytes: u32| {
        format!(
            "(drop (memory.grow (i32.const 60))) (memory.fill (i32.const 65536) (i32.const 97) (i32.const 3900000))
            (i32.store (i32.const {at}) (i32.const 65536)) (i32.store (i32.const {}) (i32.const {bytes}))",
            at + 4
        )
    };
    let aggregate = |name, instructions: String, detail| {
        let guest = Guest {
            describe: instructions,
            ..Guest::does(Read, "")
        };
        Case::new(name, Loaded(detail), guest)
    };
    vec![
        describes(
            "a descriptor that traps",
            "(unreachable)".to_owned(),
            "it does not describe itself",
        ),
        describes(
            "a descriptor beyond the memory",
            "(return (i32.const 65500))".to_owned(),
            "it does not describe itself",
        ),
        describes(
            "a descriptor out of line",
            "(return (i32.const 2))".to_owned(),
            "it does not describe itself",
        ),
        describes(
            "a hundred thousand columns",
            columns(100_000),
            "it does not describe itself",
        ),
        describes(
            "five thousand columns",
            columns(5_000),
            "it has 5000 inputs, more than 4093",
        ),
        describes("columns without end", store(36, -1), "it does not describe itself"),
        describes(
            "a name of a hundred megabytes",
            long_name(0, 100_000_000),
            "it does not describe itself",
        ),
        describes(
            "a name of three megabytes",
            long_name(0, 3_000_000),
            "it does not describe itself",
        ),
        describes(
            "a name of three hundred bytes",
            long_name(0, 300),
            "300 bytes, more than 256",
        ),
        describes(
            "a version of three hundred bytes",
            long_name(8, 300),
            "300 bytes, more than 256",
        ),
        describes(
            "a column's name of three hundred bytes",
            long_name(128, 300),
            "300 bytes, more than 256",
        ),
        describes(
            "a description like a book",
            long_name(24, 500_000),
            "500000 bytes, more than 16384",
        ),
        describes(
            "a doc like a book",
            long_name(148, 500_000),
            "500000 bytes, more than 16384",
        ),
        describes(
            "a name that is not text",
            "(i32.store8 (i32.const 256) (i32.const 255))".to_owned(),
            "it does not describe itself",
        ),
        describes(
            "a name with a line in it",
            "(i32.store8 (i32.const 263) (i32.const 10))".to_owned(),
            "is no name for the module",
        ),
        describes("no name", store(4, 0), "`` is no name for the module"),
        describes("a column without a name", store(132, 0), "`` is no name for one of the"),
        describes(
            "a column called like a reference",
            "(i32.store8 (i32.const 256) (i32.const 58))".to_owned(),
            "`:` is no name",
        ),
        describes("no outputs", store(44, 0), "it has no outputs"),
        describes(
            "outputs beyond the memory",
            store(40, 65_530),
            "it does not describe itself",
        ),
        describes(
            "two columns of one name",
            "(memory.copy (i32.const 156) (i32.const 128) (i32.const 28)) (i32.store (i32.const 36) (i32.const 2))"
                .to_owned(),
            "two of the inputs are called `x`",
        ),
        // Whatever is not 0 is true.
        Case::new(
            "a flag of two",
            Answered,
            Guest {
                describe: "(i32.store8 (i32.const 144) (i32.const 2))".to_owned(),
                ..Guest::answers(Apply, right())
            },
        ),
        Case::new(
            "a type that nobody knows",
            Loaded("it does not describe itself"),
            Guest {
                case: 99,
                ..Guest::default()
            },
        ),
        Case::new(
            "neither row nor aggregate",
            Loaded("it does not describe itself"),
            Guest {
                describe: "(i32.store8 (i32.const 48) (i32.const 2))".to_owned(),
                ..Guest::default()
            },
        ),
        Case::new(
            "an aggregate that exports rows",
            Loaded("aggregate@0.1.0#fold"),
            Guest {
                describe: "(i32.store8 (i32.const 48) (i32.const 1))".to_owned(),
                ..Guest::default()
            },
        ),
        aggregate("windows without end", store(64, -1), "it does not describe itself"),
        aggregate(
            "two thousand windows",
            format!(
                "(drop (memory.grow (i32.const 1))) {} {}",
                store(60, 65_536),
                store(64, 2_000)
            ),
            "windows, more than 1024",
        ),
        aggregate("two thousand versions", store(76, 2_000), "versions, more than 1024"),
        aggregate("a window without a name", store(196, 0), "`` is no name for a window"),
        aggregate(
            "events of one name",
            "(memory.copy (i32.const 156) (i32.const 128) (i32.const 28)) (i32.store (i32.const 56) (i32.const 2))"
                .to_owned(),
            "two of the events are called `x`",
        ),
    ]
}

/// What an instance takes before anything is called.
fn instantiations() -> Vec<Case> {
    let fields = |name, fields: &str, detail| {
        let guest = Guest {
            fields: fields.to_owned(),
            ..Guest::default()
        };
        Case::new(name, Loaded(detail), guest)
    };
    let pages = |name, pages| {
        let guest = Guest {
            pages,
            ..Guest::default()
        };
        Case::new(name, Loaded("memory"), guest)
    };
    vec![
        pages("a thousand pages", 1_000),
        pages("every page that there is", 65_536),
        fields("a table of a million", "(table 1000000 funcref)", "table"),
        fields(
            "data beyond the memory",
            "(data (i32.const 65535) \"ab\")",
            "out of bounds",
        ),
        fields(
            "data at a negative address",
            "(data (i32.const -1) \"a\")",
            "out of bounds",
        ),
        fields(
            "elements beyond the table",
            "(table 1 funcref) (elem (i32.const 1) $Apply)",
            "out of bounds",
        ),
        Case::new(
            "a trap at the start",
            Loaded("unreachable"),
            Guest {
                start: "(unreachable)".to_owned(),
                ..Guest::default()
            },
        ),
        Case::new(
            "recursion at the start",
            Loaded("call stack exhausted"),
            Guest {
                start: "(call $start)".to_owned(),
                ..Guest::default()
            },
        ),
        with("too many instances", Loaded("instance"), &[("(module)", 12)]),
        with("too many memories", Loaded("memory"), &[("(module (memory 1))", 3)]),
        with(
            "too many tables",
            Loaded("table"),
            &[(&format!("(module {})", "(table 1 funcref)".repeat(12)), 1)],
        ),
    ]
}

/// What no transform may have.
fn imports() -> Vec<Case> {
    let import = |name, package: &str, interface: &str, wit: &str, core: &str| {
        let (package_name, version) = package.split_once('@').unwrap_or((package, "0.1.0"));
        let full = format!("{package_name}/{interface}@{version}");
        let guest = Guest {
            imports: vec![Import {
                wit: format!("package {package_name}@{version}; interface {interface} {{ {wit} }}"),
                interface: full,
                function: core.to_owned(),
            }],
            ..Guest::default()
        };
        Case::new(name, Published("a transform imports nothing"), guest)
    };
    let own = import(
        "its own contract as an import",
        "unskew:transforms@0.1.0",
        "metadata",
        "describe: func() -> u64;",
        "\"describe\" (func (result i64))",
    );
    vec![
        import(
            "a clock",
            "wasi:clocks@0.2.0",
            "monotonic-clock",
            "now: func() -> u64;",
            "\"now\" (func (result i64))",
        ),
        import(
            "random numbers",
            "wasi:random@0.2.0",
            "random",
            "get-random-u64: func() -> u64;",
            "\"get-random-u64\" (func (result i64))",
        ),
        import(
            "files",
            "wasi:filesystem@0.2.0",
            "preopens",
            "count: func() -> u32;",
            "\"count\" (func (result i32))",
        ),
        import(
            "the environment",
            "wasi:cli@0.2.0",
            "environment",
            "count: func() -> u32;",
            "\"count\" (func (result i32))",
        ),
        import(
            "a socket",
            "wasi:sockets@0.2.0",
            "tcp",
            "open: func() -> u32;",
            "\"open\" (func (result i32))",
        ),
        import(
            "something of its own",
            "evil:host@1.0.0",
            "shell",
            "run: func(line: u32);",
            "\"run\" (func (param i32))",
        ),
        own,
        Case::text(
            "a type as an import",
            Published("a transform imports nothing"),
            "(component (import \"secret\" (type (sub resource))))".to_owned(),
        ),
        Case::text(
            "a module as an import",
            Published("imports"),
            "(component (import \"code\" (core module (export \"f\" (func)))))".to_owned(),
        ),
    ]
}

/// What looks like the contract.
fn lookalikes() -> Vec<Case> {
    let like = |name, contract, names, detail| {
        let guest = Guest {
            contract,
            names,
            ..Guest::default()
        };
        Case::new(name, Published(detail), guest)
    };
    let same = ("unskew", "unskew");
    vec![
        like(
            "another owner's contract",
            &[("unskew:transform", "unskevv:transform")],
            ("unskew:", "unskevv:"),
            "neither world",
        ),
        like(
            "another package",
            &[("unskew:transform", "unskew:transforms")],
            ("unskew:transform/", "unskew:transforms/"),
            "neither world",
        ),
        like(
            "a later version",
            &[("unskew:transform@0.1.0", "unskew:transform@0.2.0")],
            ("@0.1.0", "@0.2.0"),
            "neither world",
        ),
        like(
            "an earlier version",
            &[("unskew:transform@0.1.0", "unskew:transform@0.1.0-rc")],
            ("@0.1.0", "@0.1.0-rc"),
            "neither world",
        ),
        like(
            "another name of row",
            &[("interface row {", "interface rovv {"), ("export row;", "export rovv;")],
            ("/row@", "/rovv@"),
            "neither world",
        ),
        like(
            "another name of metadata",
            &[
                ("interface metadata {", "interface meta-data {"),
                ("export metadata;", "export meta-data;"),
            ],
            ("/metadata@", "/meta-data@"),
            "does not export",
        ),
        like(
            "frames of other words",
            &[("type frame = list<u64>;", "type frame = list<s64>;")],
            same,
            "but the contract has",
        ),
        like(
            "an error too many",
            &[(
                "    frame(string),\n  }\n\n  /// One output",
                "    frame(string),\n    more,\n  }\n\n  /// One output",
            )],
            same,
            "but the contract has",
        ),
        like(
            "another order of types",
            &[("    float64,\n    float32,", "    float32,\n    float64,")],
            same,
            "but the contract has",
        ),
    ]
}

/// WebAssembly that not every engine runs, or not with the same results, and files that are none.
fn features() -> Vec<Case> {
    let module = |name, text: &str, detail| with(name, Published(detail), &[(text, 1)]);
    let mut nested = empty_component();
    for _ in 0..2_000 {
        nested = nest(&nested);
    }
    let mut large = empty_component();
    large.extend(section(0, &[&[1, b'x'][..], &vec![0; 8 << 20]].concat()));
    let bytes = |name, detail, bytes: Vec<u8>| Case {
        name,
        expected: Published(detail),
        component: Component::Bytes(bytes),
    };
    vec![
        module("memory of 64 bits", "(module (memory i64 1))", "not valid WebAssembly"),
        module("shared memory", "(module (memory 1 1 shared))", "not valid WebAssembly"),
        module(
            "two memories in a module",
            "(module (memory 1) (memory 1))",
            "not valid WebAssembly",
        ),
        module(
            "relaxed SIMD",
            "(module (func (param v128 v128 v128) (result v128) (f32x4.relaxed_madd (local.get 0) (local.get 1) (local.get 2))))",
            "not valid WebAssembly",
        ),
        module("exceptions", "(module (tag))", "not valid WebAssembly"),
        module(
            "collected structs",
            "(module (type (struct (field i32))) (func (drop (struct.new_default 0))))",
            "not valid WebAssembly",
        ),
        module(
            "stack switching",
            "(module (type $f (func)) (type $c (cont $f)))",
            "not valid WebAssembly",
        ),
        bytes("a component in a component, two thousand times", "", nested),
        bytes("a component beyond the largest", "more than 8388608", large),
        bytes(
            "a module and no component",
            "a core module",
            b"\0asm\x01\0\0\0".to_vec(),
        ),
        bytes("nothing", "not WebAssembly", Vec::new()),
        bytes("a component without exports", "nothing", empty_component()),
        Case::text(
            "an interface of types",
            Published("neither world"),
            "(component (type (func)))".to_owned(),
        ),
    ]
}
