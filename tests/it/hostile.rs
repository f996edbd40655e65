//! Components that keep to the contract's types and to nothing else. Each gives a batch back as it came, except one of
//! [`BAD_ROWS`] rows, with which it does its worst: the call must fail, and the next one must be answered.

use std::time::{Duration, Instant};

use unskew::{CallError, CallLimits, Digest, Instance, Module, Store};
use unskew_frame::{Column, ColumnType, Value, encode};
use unskew_registry::{compile_into, put_module};
use unskew_tests::{chain, root, runtime};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

pub const BAD_ROWS: usize = 13;
/// Where things are in the component's memory.
const DESCRIPTOR: u32 = 0;
const COLUMNS: u32 = 128;
const TEXT: u32 = 256;
const RESULT: u32 = 512;
const INPUT: u32 = 4_096;
const OUTPUT: u32 = 32_768;

/// A component whose one input `x` and one output `x` are of a type.
pub struct Guest {
    /// The case of the contract's `column-type`: 0 is float64, 5 is text.
    pub case: u8,
    pub nullable: bool,
    /// What `apply` does with the bad batch: an expression that leaves the address of a result.
    pub apply: String,
    /// What `describe` does first.
    pub describe: String,
    /// The words at [`OUTPUT`].
    pub output: Vec<u64>,
    /// The result at `RESULT + 16`.
    pub result: [u32; 4],
    pub pages: u32,
    /// Further functions.
    pub more: String,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            case: 0,
            nullable: false,
            apply: format!("(i32.const {})", RESULT + 16),
            describe: String::new(),
            output: Vec::new(),
            result: [0, OUTPUT, 0, 0],
            pages: 1,
            more: String::new(),
        }
    }
}

/// A guest that answers the bad batch with these words.
fn answers(output: Vec<u64>) -> Guest {
    Guest {
        result: [0, OUTPUT, output.len() as u32, 0],
        output,
        ..Guest::default()
    }
}

impl Guest {
    fn component(&self) -> Vec<u8> {
        let mut resolve = Resolve::new();
        let package = resolve
            .push_path(root().join("wit/transform.wit"))
            .expect("the contract")
            .0;
        let world = resolve
            .select_world(&[package], Some("row-transform"))
            .expect("a world of it");
        let mut core = wat::parse_str(self.core()).expect("the module is well formed");
        embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).expect("the types are the world's");
        let mut encoder = ComponentEncoder::default();
        encoder.validate(true).module(&core).expect("a module of the world");
        encoder.encode().expect("a component")
    }

    fn core(&self) -> String {
        let name = "guest";
        let text = |at: u32, len: u32| [TEXT + at, len];
        // name, version, owner and description, then the inputs and the outputs, then the kind: row.
        let mut descriptor = Vec::new();
        descriptor.extend(text(0, name.len() as u32));
        descriptor.extend(text(5, 5));
        descriptor.extend(text(0, 1));
        descriptor.extend(text(0, 1));
        descriptor.extend([COLUMNS, 1, COLUMNS, 1, 0]);
        let mut column = Vec::new();
        column.extend(text(10, 1));
        column.extend([u32::from(self.case), 0, u32::from(self.nullable)]);
        column.extend(text(0, 0));
        let bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let output: Vec<u8> = self.output.iter().flat_map(|word| word.to_le_bytes()).collect();
        let segments = [
            (DESCRIPTOR, bytes(&descriptor)),
            (COLUMNS, bytes(&column)),
            (TEXT, format!("{name}1.0.0x").into_bytes()),
            (RESULT + 16, bytes(&self.result)),
            (OUTPUT, output),
        ];
        let data: String = segments
            .iter()
            .map(|(at, bytes)| format!("(data (i32.const {at}) \"{}\")\n", escaped(bytes)))
            .collect();
        format!(
            r#"(module
                (memory (export "memory") {pages})
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const {INPUT}))
                (func (export "unskew:transform/metadata@0.1.0#describe") (result i32)
                    {describe}
                    (i32.const {DESCRIPTOR}))
                (func $apply (export "unskew:transform/row@0.1.0#apply") (param $at i32) (param $len i32) (result i32)
                    (if (result i32) (i32.eq (i32.load offset=8 (local.get $at)) (i32.const {BAD_ROWS}))
                        (then {apply})
                        (else
                            (i32.store (i32.const {RESULT}) (i32.const 0))
                            (i32.store offset=4 (i32.const {RESULT}) (local.get $at))
                            (i32.store offset=8 (i32.const {RESULT}) (local.get $len))
                            (i32.const {RESULT}))))
                {more}
                {data})"#,
            pages = self.pages,
            describe = self.describe,
            apply = self.apply,
            more = self.more,
        )
    }

    /// Publishes, compiles and loads the component.
    fn load(&self) -> Result<Module, String> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        self.load_into(&Store::new(directory.path()))
    }

    /// The same in a store.
    pub fn load_into(&self, store: &Store) -> Result<Module, String> {
        let digest: Digest = put_module(store, &self.component()).map_err(|error| chain(&error))?;
        compile_into(store, &store.compiled_dir(), &digest).map_err(|error| chain(&error))?;
        runtime()
            .load(&store.compiled_dir(), &digest)
            .map_err(|error| chain(&error))
    }

    fn instance(&self, limits: CallLimits) -> Instance {
        let module = self.load().unwrap_or_else(|error| panic!("{error}"));
        module.instantiate(limits).unwrap_or_else(|error| panic!("{error}"))
    }

    fn column_type(&self) -> ColumnType {
        if self.case == 5 {
            ColumnType::String
        } else {
            ColumnType::F64
        }
    }
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// Long, so that no call is late for want of a processor.
const LIMITS: CallLimits = CallLimits {
    deadline: Duration::from_secs(20),
    ..CallLimits::SERVING
};

fn numbers(rows: usize) -> Column {
    let mut column = Column::new(ColumnType::F64);
    (0..rows).for_each(|row| column.push_f64(row as f64));
    column
}

fn apply(instance: &mut Instance, input: &Column) -> Result<Column, CallError> {
    let mut outputs = [Column::new(input.column_type())];
    instance.apply(&[input], input.rows(), &mut outputs)?;
    let [output] = outputs;
    Ok(output)
}

/// The bad batch fails as `expected` with a detail that has `detail`, twice, and a good batch is answered in between.
fn check(guest: &Guest, expected: CallError, detail: &str) {
    let mut instance = guest.instance(LIMITS);
    check_instance(&mut instance, guest, expected, detail);
}

fn check_instance(instance: &mut Instance, guest: &Guest, expected: CallError, detail: &str) {
    let mut good = Column::new(guest.column_type());
    let mut bad = Column::new(guest.column_type());
    for (column, rows) in [(&mut good, 3), (&mut bad, BAD_ROWS)] {
        for row in 0..rows {
            let value = if guest.case == 5 {
                Value::String("text")
            } else {
                Value::F64(row as f64)
            };
            column.push(value).expect("a value of the type");
        }
    }
    for _ in 0..2 {
        assert_eq!(apply(instance, &good).as_ref(), Ok(&good), "{}", instance.detail());
        assert_eq!(apply(instance, &bad), Err(expected), "{}", instance.detail());
        assert!(
            instance.detail().contains(detail),
            "`{}` does not say `{detail}`",
            instance.detail()
        );
    }
    assert_eq!(apply(instance, &good).as_ref(), Ok(&good), "{}", instance.detail());
}

fn frame(columns: &[&Column], rows: usize) -> Vec<u64> {
    let mut words = Vec::new();
    encode(columns, rows, &mut words).expect("a frame");
    words
}

fn bad_frame() -> Vec<u64> {
    frame(&[&numbers(BAD_ROWS)], BAD_ROWS)
}

#[test]
fn a_loop_ends_at_its_deadline() {
    let guest = Guest {
        apply: "(loop $forever (br $forever)) (unreachable)".to_owned(),
        ..Guest::default()
    };
    let deadline = Duration::from_millis(50);
    let mut instance = guest.instance(CallLimits { deadline, ..LIMITS });
    for _ in 0..3 {
        let start = Instant::now();
        let result = apply(&mut instance, &numbers(BAD_ROWS));
        let took = start.elapsed();
        assert_eq!(result, Err(CallError::Deadline), "{}", instance.detail());
        assert!(CallError::Deadline.is_deadline());
        assert!(took >= deadline, "{took:?} is before the deadline");
        // Other tests have the processors, too.
        assert!(took < deadline + Duration::from_secs(5), "{took:?}");
        // Memory and code of the replaced instance are cold: give this machine time.
        let again = (0..10).find_map(|_| apply(&mut instance, &numbers(2)).ok());
        assert_eq!(again, Some(numbers(2)));
    }
}

#[test]
fn a_trap_ends_the_call_and_not_the_instance() {
    let trap = |apply: &str, detail: &str| {
        let guest = Guest {
            apply: apply.to_owned(),
            ..Guest::default()
        };
        check(&guest, CallError::Trap, detail);
    };
    trap("(unreachable)", "unreachable");
    trap("(i32.div_u (i32.const 1) (i32.const 0))", "divide by zero");
    trap("(i32.load (i32.const -1))", "out of bounds");
    trap("(call $apply (local.get $at) (local.get $len))", "call stack exhausted");
    // A page at a time until the host says no.
    trap(
        "(loop $more (drop (memory.grow (i32.const 1))) (br $more)) (unreachable)",
        "memory",
    );
    // The result lies outside the memory, or where no result can lie.
    trap("(i32.const -4)", "");
    trap("(i32.const 65532)", "");
    trap(&format!("(i32.const {})", RESULT + 1), "");
}

/// Whatever a trapped call left behind is gone: the next runs on fresh memory.
#[test]
fn nothing_outlives_a_trap() {
    let cell = RESULT + 64;
    let guest = Guest {
        // The first bad batch writes a number; one that finds it written answers, which it must never get to do.
        apply: format!(
            "(if (i32.load (i32.const {cell})) (then (return (i32.const {})))) \
             (i32.store (i32.const {cell}) (i32.const 1)) (unreachable)",
            RESULT + 16
        ),
        ..answers(bad_frame())
    };
    check(&guest, CallError::Trap, "unreachable");
}

#[test]
fn a_frame_that_lies_is_refused() {
    let output = |words: Vec<u64>, detail: &str| check(&answers(words), CallError::Output, detail);
    output(Vec::new(), "");
    output(vec![0; 4], "");
    output(
        frame(&[&numbers(BAD_ROWS - 1)], BAD_ROWS - 1),
        "12 rows came back for 13",
    );
    output(frame(&[], BAD_ROWS), "");
    output(frame(&[&numbers(BAD_ROWS), &numbers(BAD_ROWS)], BAD_ROWS), "");
    let mut integers = Column::new(ColumnType::I64);
    (0..13).for_each(|row| integers.push_i64(row));
    output(frame(&[&integers], BAD_ROWS), "");
    let mut missing = Column::new(ColumnType::F64);
    (0..BAD_ROWS).for_each(|_| missing.push_null());
    output(
        frame(&[&missing], BAD_ROWS),
        "output `x` has missing values and is declared without",
    );
    let changed = |word: usize, bits: u64| {
        let mut words = bad_frame();
        words[word] ^= bits;
        words
    };
    output(changed(0, 1), "");
    output(changed(1, 1), "");
    output(changed(1, 1 << 40), "");
    output(changed(1, 0x00ff_fff0), "");
    output(changed(2, 1 << 8), "");
    output(changed(2, 1 << 20), "");
    output(changed(3, 1 << 32), "");
    output(changed(3, 1 << 62), "");
    let mut longer = bad_frame();
    longer.push(0);
    output(longer, "");
    let mut shorter = bad_frame();
    shorter.pop();
    output(shorter, "");
}

#[test]
fn a_list_outside_the_memory_is_refused() {
    let list = |at: u32, len: u32| {
        let guest = Guest {
            result: [0, at, len, 0],
            ..Guest::default()
        };
        check(&guest, CallError::Trap, "");
    };
    list(65_528, 2);
    list(u32::MAX - 7, 1);
    list(OUTPUT, u32::MAX);
    list(OUTPUT + 4, 1);
    // Neither ok nor err.
    check(
        &Guest {
            result: [2, OUTPUT, 0, 0],
            ..Guest::default()
        },
        CallError::Trap,
        "",
    );
    // An error whose case does not exist, and one whose message is not text.
    check(
        &Guest {
            result: [1, 9, TEXT, 1],
            ..Guest::default()
        },
        CallError::Trap,
        "",
    );
    let guest = Guest {
        result: [1, 0, OUTPUT, 8],
        ..answers(vec![u64::MAX])
    };
    let guest = Guest {
        result: [1, 0, OUTPUT, 8],
        ..guest
    };
    check(&guest, CallError::Trap, "");
    check(
        &Guest {
            result: [1, 0, TEXT, 5],
            ..Guest::default()
        },
        CallError::Refused,
        "frame: guest",
    );
}

#[test]
fn texts_are_checked() {
    let mut texts = Column::new(ColumnType::String);
    (0..BAD_ROWS).for_each(|_| texts.push_str("text"));
    let words = frame(&[&texts], BAD_ROWS);
    let guest = |words: &[u64]| Guest {
        case: 5,
        ..answers(words.to_vec())
    };
    // Two words of header and two of directory; offsets are half words; the bytes come last.
    let offsets = 4;
    let text = words.len() - 1;
    for (word, bits) in [
        (text, 0x80),
        (offsets, 1),
        (offsets, 1 << 63),
        (offsets + 3, 0xffff_0000),
    ] {
        let mut words = words.clone();
        words[word] ^= bits;
        check(&guest(&words), CallError::Output, "");
    }
    let mut instance = guest(&words).instance(LIMITS);
    assert_eq!(apply(&mut instance, &texts), Ok(texts));
}

/// A scalar answers for every row.
#[test]
fn a_scalar_is_an_answer() {
    let seven = Column::scalar(ColumnType::F64, Value::F64(7.0)).expect("a scalar");
    let mut instance = answers(frame(&[&seven], BAD_ROWS)).instance(LIMITS);
    let output = apply(&mut instance, &numbers(BAD_ROWS)).expect("a frame like any other");
    assert_eq!(output.rows(), BAD_ROWS);
    assert!((0..BAD_ROWS).all(|row| output.value(row) == Value::F64(7.0)));
}

/// A component may move NaNs about without computing; what the host hands on is canonical all the same.
#[test]
fn every_nan_is_canonical() {
    let mut words = bad_frame();
    for (word, bits) in words[4..]
        .iter_mut()
        .zip([0x7ff8_0000_0000_0001, 0xfff8_0000_0000_0000, 0x7ff0_0000_0000_0001])
    {
        *word = bits;
    }
    let mut instance = answers(words).instance(LIMITS);
    let output = apply(&mut instance, &numbers(BAD_ROWS)).expect("NaN is a number like any other");
    for row in 0..3 {
        let Value::F64(value) = output.value(row) else {
            panic!("row {row}")
        };
        assert_eq!(value.to_bits(), 0x7ff8_0000_0000_0000);
    }
    assert_eq!(output.value(3), Value::F64(3.0));
}

/// A component that frees its result when the engine says so, as those made with wit-bindgen do: the engine says so before
/// the host has the result, unless the host copies it out.
#[test]
fn a_result_is_read_before_it_is_freed() {
    let guest = Guest {
        more: format!(
            r#"(func (export "cabi_post_unskew:transform/row@0.1.0#apply") (param $result i32)
                (memory.fill (i32.const {INPUT}) (i32.const 0xa5) (i32.const 256)))"#
        ),
        ..Guest::default()
    };
    let mut instance = guest.instance(LIMITS);
    for rows in [0, 1, 2, 20] {
        assert_eq!(
            apply(&mut instance, &numbers(rows)),
            Ok(numbers(rows)),
            "{}",
            instance.detail()
        );
    }
}

#[test]
fn what_cannot_be_loaded_is_not() {
    let refused = |guest: &Guest, text: &str| {
        let error = guest.load().expect_err("it must not be loaded");
        assert!(error.contains(text), "`{error}` does not say `{text}`");
    };
    let describe = |describe: &str| Guest {
        describe: describe.to_owned(),
        ..Guest::default()
    };
    refused(&describe("(unreachable)"), "it does not describe itself");
    refused(
        &describe("(loop $forever (br $forever))"),
        "it does not describe itself",
    );
    // A name that is not text, and a column type that there is not.
    refused(
        &describe(&format!("(i32.store8 (i32.const {TEXT}) (i32.const 255))")),
        "it does not describe itself",
    );
    refused(
        &Guest {
            case: 99,
            ..Guest::default()
        },
        "it does not describe itself",
    );
    // Vectors have lengths, names have letters, and there are outputs.
    refused(
        &Guest {
            case: 7,
            ..Guest::default()
        },
        "`x` is a vector of length 0",
    );
    refused(
        &describe(&format!("(i32.store offset=4 (i32.const {COLUMNS}) (i32.const 0))")),
        "`` is no name for one of the",
    );
    refused(
        &describe(&format!("(i32.store offset=44 (i32.const {DESCRIPTOR}) (i32.const 0))")),
        "it has no outputs",
    );
    refused(
        &describe(&format!(
            "(i32.store offset=44 (i32.const {DESCRIPTOR}) (i32.const -1))"
        )),
        "it does not describe itself",
    );
    // More memory at the start than a call may have.
    refused(
        &Guest {
            pages: 1_000,
            ..Guest::default()
        },
        "",
    );
}

/// A module whose start needs more than the limits of a call cannot be instantiated within them.
#[test]
fn an_instance_keeps_to_its_memory() {
    let module = Guest {
        pages: 8,
        ..Guest::default()
    }
    .load()
    .expect("8 pages are few");
    let limits = |memory_bytes| CallLimits { memory_bytes, ..LIMITS };
    module.instantiate(limits(8 << 16)).expect("it fits exactly");
    let error = module.instantiate(limits((8 << 16) - 1)).expect_err("it does not fit");
    assert!(error.to_string().contains("`guest`"), "{error}");
    let mut instance = module.instantiate(LIMITS).expect("it fits");
    let mut folded = unskew::state_column();
    let result = instance.fold(&unskew::state_column(), &[], &mut folded);
    assert_eq!(result, Err(CallError::WrongKind), "{}", instance.detail());
}
