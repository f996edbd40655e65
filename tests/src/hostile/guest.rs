use unskew::{CallError, CallLimits, Digest, Instance, Module, Store, state_column};
use unskew_frame::{Column, ColumnType, Value};
use unskew_registry::{compile_into, put_module};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

use super::answers::frame;
use crate::{chain, root, runtime};

/// A batch of so many rows is answered well.
pub const GOOD_ROWS: usize = 3;
/// With a batch of so many rows a guest does its worst.
pub const BAD_ROWS: usize = 13;

/// Where things are in the guest's memory: the descriptor from 0, then these.
const COLUMN: u32 = 128;
const WINDOW: u32 = 192;
const TEXT: u32 = 256;
/// Where a good result is; a bad one is 16 bytes behind.
pub const RESULT: u32 = 512;
const STATES: u32 = 1_024;
const OUTPUTS: u32 = 2_048;
const INPUT: u32 = 4_096;
pub(super) const OUTPUT: u32 = 32_768;

/// What aggregates answer.
const SEVEN: f64 = 7.0;

/// The exports that compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Of a row transform; the others are an aggregate's.
    Apply,
    /// States and events to states.
    Fold,
    /// States and states to states.
    Merge,
    /// States and queries to outputs.
    Read,
    /// States, events and queries to outputs.
    Batch,
}

impl Function {
    /// Its export, behind the package.
    pub fn name(self) -> &'static str {
        match self {
            Self::Apply => "row@0.1.0#apply",
            Self::Fold => "aggregate@0.1.0#fold",
            Self::Merge => "aggregate@0.1.0#merge",
            Self::Read => "aggregate@0.1.0#read",
            Self::Batch => "aggregate@0.1.0#batch",
        }
    }

    /// How many frames it takes.
    pub fn frames(self) -> usize {
        match self {
            Self::Apply => 1,
            Self::Fold | Self::Merge | Self::Read => 2,
            Self::Batch => 3,
        }
    }

    /// Which of its frames has as many rows as its result.
    fn leading_frame(self) -> usize {
        match self {
            Self::Apply | Self::Fold | Self::Merge => 0,
            Self::Read => 1,
            Self::Batch => 2,
        }
    }

    /// The address and the words of the result for a good batch: of the frame `$at`, `$len` for a row transform, which gives
    /// its input back; else of one that answers the same for each row.
    fn good(self, is_constant: bool) -> String {
        let constant = match self {
            Self::Apply if !is_constant => return "(local.get $at0) (local.get $len0)".to_owned(),
            Self::Fold | Self::Merge => STATES,
            Self::Apply | Self::Read | Self::Batch => OUTPUTS,
        };
        let words = answer_of(self, 0.0).len();
        format!(
            "(i32.store offset=8 (i32.const {constant}) (local.get $rows)) (i32.const {constant}) (i32.const {words})"
        )
    }
}

/// What a guest of either kind computes with a good batch.
fn answer_of(function: Function, number: f64) -> Vec<u64> {
    let (column_type, value) = match function {
        Function::Fold | Function::Merge => (ColumnType::Bytes, Value::Bytes(b"state")),
        _ => (ColumnType::F64, Value::F64(number)),
    };
    frame(&[&Column::scalar(column_type, value).expect("a value of the type")], 1)
}

/// The two kinds of transforms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Gives a good batch back.
    Row,
    /// Has one state for everybody and gives 7.
    Aggregate,
}

impl Kind {
    fn world(self) -> &'static str {
        match self {
            Self::Row => "row-transform",
            Self::Aggregate => "aggregate-transform",
        }
    }

    /// The functions of the world, without `describe`.
    pub fn functions(self) -> &'static [Function] {
        match self {
            Self::Row => &[Function::Apply],
            Self::Aggregate => &[Function::Fold, Function::Merge, Function::Read, Function::Batch],
        }
    }

    /// The component of the world whose core module this is.
    ///
    /// # Errors
    /// The module does not export what the world does.
    pub fn component(self, core: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut resolve = Resolve::new();
        let package = resolve
            .push_str("transform.wit", &contract())
            .map_err(|error| format!("{error:#}"))?;
        let world = resolve
            .select_world(&[package], Some(self.world()))
            .map_err(|error| format!("{error:#}"))?;
        encode(core, &resolve, world)
    }
}

/// What a guest imports besides, where no transform may import anything.
#[derive(Clone, Debug)]
pub struct Import {
    /// A package with an interface.
    pub wit: String,
    /// `package/interface@version`.
    pub interface: String,
    /// A function of it, in words of the core: `"now" (func (result i64))`.
    pub function: String,
}

/// A component with one input and one output, both called `x`.
#[derive(Clone, Debug)]
pub struct Guest {
    /// As its descriptor says.
    pub name: String,
    /// Which world it exports.
    pub kind: Kind,
    /// The case of the contract's `column-type`: 0 is float64, 5 is text.
    pub case: u8,
    /// The length of a vector, for case 7.
    pub vector_len: u32,
    /// Whether the descriptor says that values may be missing.
    pub nullable: bool,
    /// Which function does what with the bad batch: instructions that leave the address of a result.
    pub bad: (Function, String),
    /// A batch with this number in any of its frames is bad, and no other.
    pub poison: Option<f64>,
    /// What every row of a good answer of numbers is: of an aggregate 7, of a row transform what it was given.
    pub constant: Option<f64>,
    /// What `describe` does first.
    pub describe: String,
    /// What an allocation for a bad batch does first.
    pub realloc: String,
    /// What is done after the return of the bad function from a bad batch.
    pub post_return: String,
    /// What is done at the start.
    pub start: String,
    /// The words at `OUTPUT`.
    pub output: Vec<u64>,
    /// The result that is 16 bytes behind `RESULT`.
    pub result: [u32; 4],
    /// Of the memory, at the start.
    pub pages: u32,
    /// Further fields of the core module.
    pub fields: String,
    /// Further core modules, as text, and how often each is instantiated.
    pub modules: Vec<(String, usize)>,
    /// What it imports.
    pub imports: Vec<Import>,
    /// What is replaced in the contract's text: (from, to).
    pub contract: &'static [(&'static str, &'static str)],
    /// What is replaced in the names of its exports: (from, to).
    pub names: (&'static str, &'static str),
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            name: "guest".to_owned(),
            kind: Kind::Row,
            case: 0,
            vector_len: 0,
            nullable: false,
            bad: (Function::Apply, format!("(i32.const {})", RESULT + 16)),
            poison: None,
            constant: None,
            describe: String::new(),
            realloc: String::new(),
            post_return: String::new(),
            start: String::new(),
            output: Vec::new(),
            result: [0, OUTPUT, 0, 0],
            pages: 1,
            fields: String::new(),
            modules: Vec::new(),
            imports: Vec::new(),
            contract: &[],
            names: ("unskew", "unskew"),
        }
    }
}

impl Guest {
    /// One that does this with the bad batch, in place of an answer.
    pub fn does(function: Function, instructions: &str) -> Self {
        Self {
            kind: match function {
                Function::Apply => Kind::Row,
                _ => Kind::Aggregate,
            },
            bad: (function, format!("{instructions} (unreachable)")),
            ..Self::default()
        }
    }

    /// One that answers the bad batch with these words.
    pub fn answers(function: Function, output: Vec<u64>) -> Self {
        Self {
            bad: (function, format!("(i32.const {})", RESULT + 16)),
            result: [0, OUTPUT, output.len() as u32, 0],
            output,
            ..Self::does(function, "")
        }
    }

    /// A row transform that answers with this number, whatever it is asked.
    pub fn constant(name: &str, number: f64) -> Self {
        Self {
            name: name.to_owned(),
            constant: Some(number),
            bad: (Function::Apply, "(br 0)".to_owned()),
            ..Self::default()
        }
    }

    /// The component's bytes.
    pub fn component(&self) -> Vec<u8> {
        let mut resolve = Resolve::new();
        let mut contract = contract();
        for (from, to) in self.contract {
            assert!(contract.contains(from), "the contract has {from}");
            contract = contract.replace(from, to);
        }
        let package = resolve.push_str("transform.wit", &contract).expect("the contract");
        let mut world = self.kind.world();
        let name = &resolve.packages[package].name;
        let version = name.version.as_ref().map(|version| format!("@{version}"));
        let own = format!(
            "{}:{}/{world}{}",
            name.namespace,
            name.name,
            version.unwrap_or_default()
        );
        let mut package = package;
        if !self.imports.is_empty() {
            let mut importing = format!("package test:importing; world importing {{ include {own};\n");
            for import in &self.imports {
                resolve
                    .push_str("import.wit", &import.wit)
                    .expect("a package to import from");
                importing += &format!("import {};\n", import.interface);
            }
            importing += "}";
            package = resolve
                .push_str("importing.wit", &importing)
                .expect("a world that imports");
            world = "importing";
        }
        let world = resolve.select_world(&[package], Some(world)).expect("a world of it");
        let mut component =
            encode(self.core_module(), &resolve, world).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        // The guest's own module is the first, and there are no others.
        for (index, (text, count)) in self.modules.iter().enumerate() {
            let module = wat::parse_str(text).unwrap_or_else(|error| panic!("{}: {error}", self.name));
            component.extend(section(MODULE_SECTION, &module));
            let instantiate = [1, 0, index as u8 + 1, 0];
            (0..*count).for_each(|_| component.extend(section(INSTANCE_SECTION, &instantiate)));
        }
        component
    }

    /// The core module inside.
    pub fn core_module(&self) -> Vec<u8> {
        wat::parse_str(self.core()).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn core(&self) -> String {
        let name_of = |function: &str| format!("unskew:transform/{function}").replace(self.names.0, self.names.1);
        let functions: String = self
            .kind
            .functions()
            .iter()
            .map(|function| self.function(*function, &name_of))
            .collect();
        let imports: String = self
            .imports
            .iter()
            .map(|import| format!("(import \"{}\" {})\n", import.interface, import.function))
            .collect();
        let start = match self.start.is_empty() {
            true => String::new(),
            false => format!("(func $start {}) (start $start)", self.start),
        };
        format!(
            r#"(module
                {imports}
                (memory (export "memory") {pages})
                (global $next (mut i32) (i32.const {INPUT}))
                (global $is_bad (mut i32) (i32.const 0))
                (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32)
                    (result i32)
                    (local $at i32)
                    (if (i32.ge_u (local.get $size) (i32.const {bad_frame_bytes})) (then {realloc}))
                    (local.set $at (global.get $next))
                    (global.set $next
                        (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
                    (local.get $at))
                (func (export "{describe_name}") (result i32)
                    (local $i i32) (local $at i32)
                    {describe}
                    (i32.const 0))
                {functions}
                {start}
                {fields}
                {data})"#,
            pages = self.pages,
            // A frame of a good batch is smaller, the largest of a bad batch is not.
            bad_frame_bytes = match self.kind {
                Kind::Row => 128,
                Kind::Aggregate => 180,
            },
            realloc = self.realloc,
            describe_name = name_of("metadata@0.1.0#describe"),
            describe = self.describe,
            fields = self.fields,
            data = self.data(),
        )
    }

    fn function(&self, function: Function, name_of: &dyn Fn(&str) -> String) -> String {
        let name = name_of(function.name());
        let frames: String = (0..function.frames())
            .map(|frame| format!("(param $at{frame} i32) (param $len{frame} i32) "))
            .collect();
        let bad = match &self.bad {
            (bad, instructions) if *bad == function => {
                format!("(if (global.get $is_bad) (then {instructions} (return)))")
            }
            _ => String::new(),
        };
        let post_return = match self.bad.0 == function && !self.post_return.is_empty() {
            true => format!(
                "(func (export \"cabi_post_{name}\") (param $result i32) (if (global.get $is_bad) (then {})))",
                self.post_return
            ),
            false => String::new(),
        };
        // The words of the result are below its address on the stack.
        format!(
            r#"(func ${function:?} (export "{name}") {frames} (result i32)
                (local $rows i32) (local $i i32) (local $at i32)
                (global.set $next (i32.const {INPUT}))
                (local.set $rows (i32.load offset=8 (local.get $at{leading})))
                {is_bad}
                {bad}
                (i32.store (i32.const {RESULT}) (i32.const 0))
                {good}
                (local.set $i)
                (local.set $at)
                (i32.store offset=4 (i32.const {RESULT}) (local.get $at))
                (i32.store offset=8 (i32.const {RESULT}) (local.get $i))
                (i32.const {RESULT}))
            {post_return}
            "#,
            is_bad = self.is_bad(function),
            leading = function.leading_frame(),
            good = function.good(self.constant.is_some()),
        )
    }

    /// Finds out whether a batch is bad.
    fn is_bad(&self, function: Function) -> String {
        let Some(poison) = self.poison else {
            return format!("(global.set $is_bad (i32.eq (local.get $rows) (i32.const {BAD_ROWS})))");
        };
        let bits = poison.to_bits();
        let frames = (0..function.frames()).map(|frame| {
            format!(
                r#"(local.set $i (i32.const 0))
                (block (loop
                    (br_if 1 (i32.ge_u (local.get $i) (local.get $len{frame})))
                    (if (i64.eq (i64.const {bits})
                            (i64.load (i32.add (local.get $at{frame}) (i32.shl (local.get $i) (i32.const 3)))))
                        (then (global.set $is_bad (i32.const 1))))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br 0)))"#
            )
        });
        "(global.set $is_bad (i32.const 0))".to_owned() + &frames.collect::<String>()
    }

    /// The data segments: descriptor, texts, results.
    fn data(&self) -> String {
        let name_bytes = self.name.len() as u32;
        let (name, version, x) = ([TEXT + 6, name_bytes], [TEXT + 1, 5], [TEXT, 1]);
        // name, version, owner and description, then the inputs and the outputs, then the kind.
        let mut descriptor = [name, version, x, x, [COLUMN, 1], [COLUMN, 1]].concat();
        match self.kind {
            Kind::Row => descriptor.push(0),
            // Events, windows, the state's version, and the versions that can be read: the 1 before.
            Kind::Aggregate => descriptor.extend([1, COLUMN, 1, WINDOW, 1, 1, 68, 1]),
        }
        let column = [
            x[0],
            x[1],
            u32::from(self.case),
            self.vector_len,
            u32::from(self.nullable),
            TEXT,
            0,
        ];
        let window = [x[0], x[1], 3_600_000_000_u64 as u32, 0, 0, 0];
        let bytes = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let long = |words: &[u64]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let segments = [
            (0, bytes(&descriptor)),
            (COLUMN, bytes(&column)),
            (WINDOW, bytes(&window)),
            (TEXT, format!("x1.0.0{}", self.name).into_bytes()),
            (RESULT + 16, bytes(&self.result)),
            (STATES, long(&answer_of(Function::Fold, 0.0))),
            (
                OUTPUTS,
                long(&answer_of(Function::Read, self.constant.unwrap_or(SEVEN))),
            ),
            (OUTPUT, long(&self.output)),
        ];
        let escaped = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>();
        segments
            .iter()
            .filter(|(_, bytes)| !bytes.is_empty())
            .map(|(at, bytes)| format!("(data (i32.const {at}) \"{}\")\n", escaped(bytes)))
            .collect()
    }

    /// Publishes, compiles and loads the component.
    ///
    /// # Errors
    /// Whatever of these fails, as people read it.
    pub fn load_into(&self, store: &Store) -> Result<Module, String> {
        load(store, &self.component())
    }

    /// The same in a store that is gone afterwards.
    ///
    /// # Errors
    /// As [`load_into`](Self::load_into).
    pub fn load(&self) -> Result<Module, String> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        self.load_into(&Store::new(directory.path()))
    }

    /// The type of the columns.
    pub fn column_type(&self) -> ColumnType {
        match self.case {
            5 => ColumnType::String,
            7 => ColumnType::Vector(self.vector_len),
            _ => ColumnType::F64,
        }
    }

    /// Calls the function that is bad with a batch of so many rows; what came back.
    ///
    /// # Errors
    /// Those of the call.
    pub fn call(&self, instance: &mut Instance, rows: usize) -> Result<Column, CallError> {
        let input = self.input(rows);
        let index = numbers(ColumnType::I64, rows);
        let times = numbers(ColumnType::Timestamp, rows);
        let mut states = state_column();
        (0..rows).for_each(|_| states.push_bytes(b"state"));
        let mut folded = state_column();
        let mut outputs = [Column::new(self.column_type())];
        match self.bad.0 {
            Function::Apply => instance.apply(&[&input], rows, &mut outputs)?,
            Function::Fold => instance.fold(&states, &[&index, &times, &input], &mut folded)?,
            Function::Merge => instance.merge(&states, &states, &mut folded)?,
            Function::Read => instance.read(&states, &[&index, &times, &input], rows, &mut outputs)?,
            Function::Batch => {
                let events = [&index, &times, &input];
                let queries = [&index, &times, &index, &input];
                instance.batch(&states, &events, &queries, rows, &mut outputs)?;
            }
        }
        let [output] = outputs;
        Ok(match self.bad.0 {
            Function::Fold | Function::Merge => folded,
            _ => output,
        })
    }

    /// What comes back for a good batch of so many rows.
    pub fn answer(&self, rows: usize) -> Column {
        let (mut column, value) = match self.bad.0 {
            Function::Apply => return self.input(rows),
            Function::Fold | Function::Merge => (state_column(), Value::Bytes(b"state")),
            Function::Read | Function::Batch => (Column::new(ColumnType::F64), Value::F64(SEVEN)),
        };
        (0..rows).for_each(|_| column.push(value).expect("a value of the type"));
        column
    }

    /// The column `x` of a batch of so many rows.
    pub fn input(&self, rows: usize) -> Column {
        let mut column = Column::new(self.column_type());
        let zeros = vec![0.0; self.vector_len as usize];
        for row in 0..rows {
            let value = match self.case {
                5 => Value::String("text"),
                7 => Value::Vector(&zeros),
                _ => Value::F64(row as f64),
            };
            column.push(value).expect("a value of the type");
        }
        column
    }

    /// An instance under these limits of a guest that can be loaded.
    pub fn instance(&self, limits: CallLimits) -> Instance {
        let module = self.load().unwrap_or_else(|error| panic!("{}: {error}", self.name));
        module.instantiate(limits).unwrap_or_else(|error| panic!("{error}"))
    }
}

fn contract() -> String {
    std::fs::read_to_string(root().join("wit/transform.wit")).expect("the contract")
}

fn encode(mut core: Vec<u8>, resolve: &Resolve, world: WorldId) -> Result<Vec<u8>, String> {
    let text = |error| format!("{error:#}");
    embed_component_metadata(&mut core, resolve, world, StringEncoding::UTF8).map_err(text)?;
    let mut encoder = ComponentEncoder::default();
    encoder.module(&core).map_err(text)?;
    encoder.encode().map_err(text)
}

const MODULE_SECTION: u8 = 1;
const INSTANCE_SECTION: u8 = 2;
const COMPONENT_SECTION: u8 = 4;

/// A section of a component.
pub(super) fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![id];
    let mut len = content.len();
    loop {
        let more = len > 0x7f;
        bytes.push((len & 0x7f) as u8 | u8::from(more) << 7);
        len >>= 7;
        if !more {
            break;
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

/// A component of nothing.
pub(super) fn empty_component() -> Vec<u8> {
    b"\0asm\x0d\0\x01\0".to_vec()
}

/// A component of nothing but a component.
pub(super) fn nest(component: &[u8]) -> Vec<u8> {
    let mut outer = empty_component();
    outer.extend(section(COMPONENT_SECTION, component));
    outer
}

/// Publishes, compiles and loads a component.
///
/// # Errors
/// Whatever of these fails, as people read it.
pub fn load(store: &Store, component: &[u8]) -> Result<Module, String> {
    let digest: Digest = put_module(store, component).map_err(|error| chain(&error))?;
    compile_into(store, &store.compiled_dir(), &digest).map_err(|error| chain(&error))?;
    runtime()
        .load(&store.compiled_dir(), &digest)
        .map_err(|error| chain(&error))
}

/// Ascending numbers, of i64 or of time.
fn numbers(column_type: ColumnType, rows: usize) -> Column {
    let mut column = Column::new(column_type);
    for row in 0..rows as i64 {
        match column_type {
            ColumnType::Timestamp => column.push_timestamp(row),
            _ => column.push_i64(row),
        }
    }
    column
}
