/// What the descriptor says of a module, beside its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModuleMeta {
    /// The crate's name.
    pub name: &'static str,
    /// The crate's version.
    pub version: &'static str,
    /// Who answers for it.
    pub owner: &'static str,
    /// The function's doc comment.
    pub description: &'static str,
}
