use unskew_frame::ColumnType;

/// What a module says of itself: read from the component's `describe`.
#[derive(Clone, Debug, PartialEq)]
pub struct Descriptor {
    /// In kebab case.
    pub name: String,
    /// A semantic version.
    pub version: String,
    /// Who answers for it.
    pub owner: String,
    /// What it computes.
    pub description: String,
    /// A row transform's inputs; an aggregate's parameters of a query.
    pub inputs: Vec<ColumnDescriptor>,
    /// What it gives.
    pub outputs: Vec<ColumnDescriptor>,
    /// Row transform or aggregate.
    pub kind: Kind,
}

/// A column of a module.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnDescriptor {
    /// Unique among the inputs, the events or the outputs.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether a value may be missing.
    pub nullable: bool,
    /// What it means.
    pub doc: String,
}

/// What kind of transform a module is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Inputs to outputs, row by row.
    Row,
    /// State over events.
    Aggregate(Aggregation),
}

/// What only an aggregate has.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregation {
    /// The columns of an event, without its entity and its time.
    pub events: Vec<ColumnDescriptor>,
    /// The windows.
    pub windows: Vec<Window>,
    /// The version of the states it writes.
    pub state_version: u32,
    /// The versions of the states it reads.
    pub readable_state_versions: Vec<u32>,
}

/// The window `[tail, t)` of a query at t: the tail is t - length, moved back to a multiple of the hop unless that is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// As the outputs carry it.
    pub name: String,
    /// In microseconds.
    pub length_us: i64,
    /// In microseconds.
    pub hop_us: i64,
}
