//! Products of 128 bits by the instruction for them, which hashes are made of.
//!
//! The SDK's function for such a product is called and not inlined, so its calls can be told: each is replaced by two
//! instructions of the standard's wide arithmetic. Without them a compiler makes four products of halves.
//!
//! Compiling everything for wide arithmetic would be simpler, but LLVM 22 then gives wrong results: what
//! `a.saturating_mul(b)` becomes compares with a local that nothing was assigned to.

use wasmparser::{BinaryReaderError, ExternalKind, FuncType, Operator, Parser, Payload, TypeRef, ValType};

use crate::section::with_bodies;

/// The SDK's export: of two numbers, both halves of their product, one over the other.
const MULTIPLY_FOLD: &str = "unskew_multiply_fold";

/// `i64.mul_wide_u` and `i64.xor`.
const INSTRUCTIONS: [u8; 3] = [0xfc, 0x16, 0x85];

/// The module with the instructions in the place of every call of the function, where it has one.
pub(crate) fn with_wide_products(module: &[u8]) -> Result<Vec<u8>, String> {
    let text = |error: BinaryReaderError| error.to_string();
    let Some(function) = function_index(module).map_err(text)? else {
        return Ok(module.to_vec());
    };
    with_bodies(module, &bodies(module, function).map_err(text)?)
}

/// The function's index, if the module exports it with its type.
fn function_index(module: &[u8]) -> Result<Option<u32>, BinaryReaderError> {
    let (mut types, mut functions, mut exported) = (Vec::<Option<FuncType>>::new(), Vec::new(), None);
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::TypeSection(section) => {
                for group in section {
                    types.extend(group?.into_types().map(|declared| match declared.composite_type.inner {
                        wasmparser::CompositeInnerType::Func(function) => Some(function),
                        _ => None,
                    }));
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    if let TypeRef::Func(function_type) = import?.ty {
                        functions.push(function_type);
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for function_type in section {
                    functions.push(function_type?);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func && export.name == MULTIPLY_FOLD {
                        exported = Some(export.index);
                    }
                }
            }
            _ => {}
        }
    }
    let type_of = |function: u32| types.get(*functions.get(function as usize)? as usize)?.as_ref();
    Ok(exported.filter(|function| {
        type_of(*function).is_some_and(|function_type| {
            function_type.params() == [ValType::I64; 2] && function_type.results() == [ValType::I64]
        })
    }))
}

/// The bodies of all functions without the calls, whose arguments are where the instructions take theirs from.
fn bodies(module: &[u8], function: u32) -> Result<Vec<Vec<u8>>, BinaryReaderError> {
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        let Payload::CodeSectionEntry(body) = payload? else {
            continue;
        };
        let (mut kept, end) = (body.range().start as usize, body.range().end as usize);
        let mut bytes = Vec::with_capacity(end - kept);
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let start = operators.original_position() as usize;
            if matches!(operators.read()?, Operator::Call { function_index } if function_index == function) {
                bytes.extend_from_slice(&module[kept..start]);
                bytes.extend_from_slice(&INSTRUCTIONS);
                kept = operators.original_position() as usize;
            }
        }
        bytes.extend_from_slice(&module[kept..end]);
        bodies.push(bytes);
    }
    Ok(bodies)
}

#[cfg(test)]
mod tests;
