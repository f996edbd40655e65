use arrow::array::ArrayRef;
use unskew_frame::Column;
use unskew_snapshot::EventTime;

/// The rows that features were computed for, in the order of the file; the same row twice stays so.
#[derive(Clone, Debug, Default)]
pub struct Spine {
    /// The prediction times.
    pub times: Vec<EventTime>,
    /// The request's and the candidates' fields by name, as the service has them.
    pub fields: Vec<(String, Column)>,
    /// Every other column, in the order of the file. Columns of text files without a name are left out.
    pub labels: Vec<(String, ArrayRef)>,
}

impl Spine {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&Column> {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map(|(_, column)| column)
    }
}
