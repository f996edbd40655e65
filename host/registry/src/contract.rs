//! The contract, and the interfaces of a component in a form that can be compared with it.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use wit_parser::{Function, InterfaceId, PackageId, Resolve, Type, TypeDefKind, WorldItem, WorldKey};

use crate::check::{CheckError, World};

/// The text of the contract.
pub(crate) const SOURCE: &str = include_str!("../../../wit/transform.wit");

/// The package of `wit/transform.wit`.
pub(crate) struct Contract {
    /// `unskew:transform@0.1.0`.
    pub package: String,
    namespace: String,
    version: String,
    row: Vec<Interface>,
    aggregate: Vec<Interface>,
}

impl Contract {
    /// The name by which a component exports the interface.
    pub fn interface_name(&self, interface: &str) -> String {
        format!("{}/{interface}{}", self.namespace, self.version)
    }

    /// The interfaces that a component of the world exports.
    pub fn exports(&self, world: World) -> &[Interface] {
        match world {
            World::RowTransform => &self.row,
            World::AggregateTransform => &self.aggregate,
        }
    }
}

/// An interface with its functions' types spelled out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    /// `unskew:transform/row@0.1.0`, or the bare name of a function or type at the top.
    pub name: String,
    /// By name. Names of types do not count, those of fields and cases do.
    pub functions: BTreeMap<String, String>,
}

/// The contract, read once.
pub(crate) fn contract() -> Result<&'static Contract, CheckError> {
    static CONTRACT: OnceLock<Result<Contract, CheckError>> = OnceLock::new();
    CONTRACT
        .get_or_init(|| parse(SOURCE).map_err(|reason| CheckError::Contract { reason }))
        .as_ref()
        .map_err(Clone::clone)
}

/// The interfaces among the exports of a world.
pub(crate) fn interfaces<'a>(
    resolve: &Resolve,
    items: impl IntoIterator<Item = (&'a WorldKey, &'a WorldItem)>,
) -> Vec<Interface> {
    items
        .into_iter()
        .map(|(key, item)| {
            let name = resolve.name_world_key(key);
            match item {
                WorldItem::Interface { id, .. } => interface(resolve, name, *id),
                WorldItem::Function(function) => Interface {
                    functions: BTreeMap::from([(name.clone(), signature(resolve, function))]),
                    name,
                },
                WorldItem::Type { .. } => Interface {
                    name,
                    functions: BTreeMap::new(),
                },
            }
        })
        .collect()
}

fn parse(source: &str) -> Result<Contract, String> {
    let mut resolve = Resolve::new();
    let package = resolve
        .push_source("transform.wit", source)
        .map_err(|error| format!("{error:#}"))?;
    let exports = |world: World| exports_of(&resolve, package, world);
    let name = &resolve.packages[package].name;
    Ok(Contract {
        package: name.to_string(),
        namespace: format!("{}:{}", name.namespace, name.name),
        version: name.version.as_ref().map(|v| format!("@{v}")).unwrap_or_default(),
        row: exports(World::RowTransform)?,
        aggregate: exports(World::AggregateTransform)?,
    })
}

fn exports_of(resolve: &Resolve, package: PackageId, world: World) -> Result<Vec<Interface>, String> {
    let id = resolve
        .select_world(&[package], Some(world.name()))
        .map_err(|error| format!("{error:#}"))?;
    Ok(interfaces(resolve, &resolve.worlds[id].exports))
}

fn interface(resolve: &Resolve, name: String, id: InterfaceId) -> Interface {
    let interface = &resolve.interfaces[id];
    Interface {
        name,
        functions: interface
            .functions
            .iter()
            .map(|(name, function)| (name.clone(), signature(resolve, function)))
            .collect(),
    }
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let asynchronous = if function.kind.is_async() { "async " } else { "" };
    let params = commas(
        function
            .params
            .iter()
            .map(|param| format!("{}: {}", param.name, spelled(resolve, param.ty))),
    );
    let result = function
        .result
        .map(|ty| format!(" -> {}", spelled(resolve, ty)))
        .unwrap_or_default();
    format!("{asynchronous}func({params}){result}")
}

/// The type with the names of types replaced by what they stand for, so that equal texts are equal types. Types of WIT are
/// not recursive.
fn spelled(resolve: &Resolve, ty: Type) -> String {
    let primitive = match ty {
        Type::Bool => "bool",
        Type::U8 => "u8",
        Type::U16 => "u16",
        Type::U32 => "u32",
        Type::U64 => "u64",
        Type::S8 => "s8",
        Type::S16 => "s16",
        Type::S32 => "s32",
        Type::S64 => "s64",
        Type::F32 => "f32",
        Type::F64 => "f64",
        Type::Char => "char",
        Type::String => "string",
        Type::ErrorContext => "error-context",
        Type::Id(id) => return spelled_kind(resolve, &resolve.types[id].kind),
    };
    primitive.to_owned()
}

fn spelled_kind(resolve: &Resolve, kind: &TypeDefKind) -> String {
    let of = |ty: &Type| spelled(resolve, *ty);
    let or_none = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), of);
    match kind {
        TypeDefKind::Type(ty) => of(ty),
        TypeDefKind::List(ty) => format!("list<{}>", of(ty)),
        TypeDefKind::FixedLengthList(ty, len) => format!("list<{}, {len}>", of(ty)),
        TypeDefKind::Map(key, value) => format!("map<{}, {}>", of(key), of(value)),
        TypeDefKind::Option(ty) => format!("option<{}>", of(ty)),
        TypeDefKind::Result(result) => {
            format!("result<{}, {}>", or_none(&result.ok), or_none(&result.err))
        }
        TypeDefKind::Tuple(tuple) => format!("tuple<{}>", commas(tuple.types.iter().map(of))),
        TypeDefKind::Record(record) => {
            let fields = record
                .fields
                .iter()
                .map(|field| format!("{}: {}", field.name, of(&field.ty)));
            format!("record {{ {} }}", commas(fields))
        }
        TypeDefKind::Variant(variant) => {
            let cases = variant.cases.iter().map(|case| match &case.ty {
                Some(ty) => format!("{}({})", case.name, of(ty)),
                None => case.name.clone(),
            });
            format!("variant {{ {} }}", commas(cases))
        }
        TypeDefKind::Enum(cases) => format!(
            "enum {{ {} }}",
            commas(cases.cases.iter().map(|case| case.name.clone()))
        ),
        TypeDefKind::Flags(flags) => format!(
            "flags {{ {} }}",
            commas(flags.flags.iter().map(|flag| flag.name.clone()))
        ),
        TypeDefKind::Future(ty) => format!("future<{}>", or_none(ty)),
        TypeDefKind::Stream(ty) => format!("stream<{}>", or_none(ty)),
        TypeDefKind::Resource | TypeDefKind::Handle(_) => "resource".to_owned(),
        TypeDefKind::Unknown => "unknown".to_owned(),
    }
}

fn commas(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}
