//! A component around a core module that a generator made.

use arbitrary::Unstructured;
use unskew::DIRECT_INPUT;
use unskew_snapshot_benches::Random;
use unskew_tests::hostile::{Guest, Kind};
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{CodeSection, DataSection, Function, Module, RawSection};
use wasmparser::{ExternalKind, Parser, Payload};

/// What the generator reads at most: the larger, the longer the functions.
const ENTROPY_BYTES: usize = 16 << 10;
/// Loops and calls of a module that ends, for as long as its instance lives: so few that no recursion exhausts the stack, for
/// how deep that is differs from one compilation to another.
pub const FUEL: u32 = 500;
/// Where the allocation of a tame module puts everything.
const TAME_ADDRESS: i32 = 4_096;

/// What is made of a seed.
pub struct Made {
    pub kind: Kind,
    /// Whether every call of it ends by itself.
    pub ends: bool,
    pub component: Vec<u8>,
}

/// The component of a seed.
///
/// # Errors
/// Nothing can be made of it; the reason.
pub fn make(seed: u64) -> Result<Made, String> {
    let mut random = Random::new(seed);
    let kind = if random.below(3) == 0 {
        Kind::Aggregate
    } else {
        Kind::Row
    };
    let is_direct = random.below(2) == 0;
    let ends = random.below(2) == 0;
    // Most describe themselves well and take what they are given, so that there is something to call.
    let describes_at_random = random.below(16) == 0;
    let allocates_at_random = random.below(4) == 0;

    let entropy: Vec<u8> = (0..ENTROPY_BYTES).map(|_| random.below(256) as u8).collect();
    let mut module = wasm_smith::Module::new(config(kind, is_direct), &mut Unstructured::new(&entropy))
        .map_err(|error| error.to_string())?;
    if ends {
        module.ensure_termination(FUEL).map_err(|error| error.to_string())?;
    }
    let guest = Guest {
        name: format!("generated-{seed}"),
        kind,
        ..Guest::default()
    };
    let mut own: Vec<&str> = Vec::new();
    if !describes_at_random {
        own.push("describe");
    }
    if !allocates_at_random {
        own.extend(["cabi_realloc", DIRECT_INPUT]);
    }
    let core = patched(&module.to_bytes(), &guest.core_module(), &own).map_err(|error| format!("{error:#?}"))?;
    Ok(Made {
        kind,
        ends,
        component: kind.component(core)?,
    })
}

/// Everything that components may use, and the exports of a world.
fn config(kind: Kind, is_direct: bool) -> wasm_smith::Config {
    let frames: String = kind
        .functions()
        .iter()
        .map(|function| {
            let parameters = "i32 ".repeat(2 * function.frames());
            format!(
                "(func (export \"unskew:transform/{}\") (param {parameters}) (result i32) unreachable)\n",
                function.name()
            )
        })
        .collect();
    let direct = match is_direct {
        true => format!("(func (export \"{DIRECT_INPUT}\") (param i32 i32) (result i32) unreachable)"),
        false => String::new(),
    };
    let shape = format!(
        "(module (memory (export \"memory\") 1)
            (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32) unreachable)
            (func (export \"unskew:transform/metadata@0.1.0#describe\") (result i32) unreachable)
            {frames} {direct})"
    );
    wasm_smith::Config {
        exports: Some(wat::parse_str(shape).expect("the shape is valid")),
        max_imports: 0,
        min_memories: 0,
        max_memories: 0,
        max_memory32_bytes: 2 << 20,
        max_tables: 4,
        max_instructions: 400,
        // What components may not use is refused before it is run: other cases test that. Typed references go with collected
        // types, which they may not use either.
        compact_imports_enabled: false,
        exceptions_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        relaxed_simd_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: true,
        reference_types_enabled: false,
        ..wasm_smith::Config::default()
    }
}

/// The generated module with the guest's data behind its own, and with the functions that are exported under these names (or
/// names that end like this) doing what a tame guest does.
fn patched(generated: &[u8], guest: &[u8], own: &[&str]) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let is_own = |name: &str| own.iter().any(|own| name == *own || name.ends_with(&format!("#{own}")));
    let mut replaced = Vec::new();
    for payload in Parser::new(0).parse_all(generated) {
        if let Payload::ExportSection(exports) = payload? {
            for export in exports {
                let export = export?;
                if export.kind == ExternalKind::Func && is_own(export.name) {
                    replaced.push((
                        export.index,
                        if export.name.ends_with("describe") {
                            0
                        } else {
                            TAME_ADDRESS
                        },
                    ));
                }
            }
        }
    }

    let mut module = Module::new();
    let mut code = CodeSection::new();
    let mut data = DataSection::new();
    let mut defined = 0;
    for payload in Parser::new(0).parse_all(generated) {
        let payload = payload?;
        match &payload {
            Payload::CodeSectionEntry(body) => {
                match replaced.iter().find(|(index, _)| *index == defined) {
                    Some((_, result)) => {
                        let mut function = Function::new([]);
                        function.instructions().i32_const(*result).end();
                        code.function(&function);
                    }
                    None => drop(code.raw(body.as_bytes())),
                }
                defined += 1;
            }
            Payload::CodeSectionStart { .. } => {}
            Payload::DataSection(section) => RoundtripReencoder.parse_data_section(&mut data, section.clone())?,
            // Only there for what is behind it, which it counts; with the guest's data it would be wrong.
            Payload::DataCountSection { count, .. } => {
                module.section(&wasm_encoder::DataCountSection {
                    count: count + data_count(guest)?,
                });
            }
            Payload::End(_) => {
                for segment in segments(guest)? {
                    RoundtripReencoder.parse_data(&mut data, segment)?;
                }
                module.section(&code).section(&data);
            }
            other => {
                if let Some((id, range)) = other.as_section() {
                    module.section(&RawSection {
                        id,
                        data: &generated[range.start as usize..range.end as usize],
                    });
                }
            }
        }
    }
    Ok(module.finish())
}

fn segments(guest: &[u8]) -> wasmparser::Result<Vec<wasmparser::Data<'_>>> {
    let mut segments = Vec::new();
    for payload in Parser::new(0).parse_all(guest) {
        if let Payload::DataSection(section) = payload? {
            for segment in section {
                segments.push(segment?);
            }
        }
    }
    Ok(segments)
}

fn data_count(guest: &[u8]) -> wasmparser::Result<u32> {
    Ok(segments(guest)?.len() as u32)
}
