//! What becomes of a component before it is compiled. The component itself, and so its digest, stays what was published.

use wasmparser::{ExternalKind, Parser, Payload, WasmFeatures};

use crate::nan;
use crate::section::{HEADER_BYTES, MODULE_SECTION, Section, push_section, push_u32};

const COMPONENT_SECTION: u8 = 4;
const EXPORT_SECTION: u8 = 11;

/// The component with canonical NaNs in every module (see [`nan`]). Where its one module keeps to the SDK's convention, the
/// component exports it too, so that the host can call it without the component's copies.
///
/// # Errors
/// The component is not valid, which its check would have found.
pub(crate) fn rewrite(component: &[u8], features: WasmFeatures) -> Result<Vec<u8>, String> {
    let mut rewritten = with_canonical_nans(component, features)?;
    if has_direct_module(component)? {
        push_export(&mut rewritten);
    }
    Ok(rewritten)
}

fn with_canonical_nans(component: &[u8], features: WasmFeatures) -> Result<Vec<u8>, String> {
    let mut rewritten = component[..HEADER_BYTES].to_vec();
    for section in Section::all(component) {
        let section = section?;
        match section.id {
            MODULE_SECTION => {
                let module = nan::canonicalise(section.content, features)?;
                push_section(&mut rewritten, MODULE_SECTION, &module);
            }
            COMPONENT_SECTION => {
                let inner = with_canonical_nans(section.content, features)?;
                push_section(&mut rewritten, COMPONENT_SECTION, &inner);
            }
            _ => rewritten.extend_from_slice(section.whole),
        }
    }
    Ok(rewritten)
}

/// The one core module of a component.
///
/// # Errors
/// It has none, or several.
pub fn core_module(component: &[u8]) -> Result<&[u8], String> {
    let mut modules = Vec::new();
    for section in Section::all(component) {
        let section = section?;
        if section.id == MODULE_SECTION {
            modules.push(section.content);
        }
    }
    match modules[..] {
        [module] => Ok(module),
        _ => Err(format!("the component has {} core modules", modules.len())),
    }
}

/// Whether the component has one module, and that one says that it may be called directly.
fn has_direct_module(component: &[u8]) -> Result<bool, String> {
    let Ok(module) = core_module(component) else {
        return Ok(false);
    };
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ExportSection(exports) = payload.map_err(|error| error.to_string())? {
            return Ok(exports
                .into_iter()
                .flatten()
                .any(|export| export.name == unskew::DIRECT_INPUT && export.kind == ExternalKind::Func));
        }
    }
    Ok(false)
}

/// `(export "core-module" (core module 0))`
fn push_export(component: &mut Vec<u8>) {
    const CORE_MODULE: [u8; 2] = [0x00, 0x11];
    let name = unskew::DIRECT_MODULE;
    let mut exports = vec![1, 0];
    push_u32(&mut exports, name.len());
    exports.extend_from_slice(name.as_bytes());
    exports.extend_from_slice(&CORE_MODULE);
    // Its index, and no type beside its own.
    exports.extend_from_slice(&[0, 0]);
    push_section(component, EXPORT_SECTION, &exports);
}

#[cfg(test)]
mod tests;
