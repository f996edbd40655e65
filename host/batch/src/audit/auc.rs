use std::collections::BTreeMap;

use unskew_frame::Value;

use super::label::Outcomes;

/// Texts of more kinds than this are not looked at: each row would be a kind of its own.
const MAX_KINDS: usize = 10_000;

/// What a feature tells of a label.
pub(super) struct Told {
    pub value: Option<f64>,
    pub presence: Option<f64>,
}

/// The AUC of a feature's values, and of whether it has one. `values` has one for each outcome.
pub(super) fn of_feature(values: &[Value<'_>], outcomes: &Outcomes) -> Told {
    let labelled = || {
        let rows = values.iter().enumerate();
        rows.filter_map(|(row, value)| Some((row, *value, outcomes.get(row)?)))
    };
    let presence = labelled().map(|(_, value, outcome)| (f64::from(u8::from(!value.is_null())), outcome));
    let is_text = values
        .iter()
        .any(|value| matches!(value, Value::String(_) | Value::Bytes(_)));
    let value = match is_text {
        false => auc(labelled()
            .filter_map(|(_, value, outcome)| Some((number(value)?, outcome)))
            .collect()),
        true => of_texts(labelled()),
    };
    Told {
        value,
        presence: auc(presence.collect()),
    }
}

/// Of texts: each kind's share of positive labels is learned from one half of the rows and asked of the other, so that a kind with
/// few rows does not tell of itself.
fn of_texts<'a>(rows: impl Iterator<Item = (usize, Value<'a>, bool)>) -> Option<f64> {
    let mut shares: BTreeMap<&[u8], [u64; 2]> = BTreeMap::new();
    let mut asked = Vec::new();
    let mut all = [0_u64; 2];
    for (row, value, outcome) in rows {
        let text = match value {
            Value::String(text) => text.as_bytes(),
            Value::Bytes(bytes) => bytes,
            _ => continue,
        };
        if is_asked(row) {
            asked.push((text, outcome));
            continue;
        }
        shares.entry(text).or_default()[usize::from(outcome)] += 1;
        all[usize::from(outcome)] += 1;
        if MAX_KINDS < shares.len() {
            return None;
        }
    }
    let share = |[negative, positive]: [u64; 2]| positive as f64 / (negative + positive).max(1) as f64;
    let told = |(text, outcome): (&[u8], bool)| (shares.get(text).map_or(share(all), |counts| share(*counts)), outcome);
    auc(asked.into_iter().map(told).collect())
}

/// Whether a row is of the half that is asked: about every other, in no period that rows might have too.
const fn is_asked(row: usize) -> bool {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    (row as u64).wrapping_mul(GOLDEN) >> (u64::BITS - 1) == 1
}

fn number(value: Value<'_>) -> Option<f64> {
    let number = match value {
        Value::F64(value) => value,
        Value::F32(value) => value.into(),
        Value::I64(value) | Value::Timestamp(value) => value as f64,
        Value::Bool(value) => u8::from(value).into(),
        _ => return None,
    };
    (!number.is_nan()).then_some(number)
}

/// How often a row with a positive outcome has the greater score than one with a negative outcome, equal scores half: the sum of
/// the ranks, as Mann and Whitney have it. None where all outcomes are of one kind.
pub(super) fn auc(mut rows: Vec<(f64, bool)>) -> Option<f64> {
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let positive = rows.iter().filter(|(_, outcome)| *outcome).count() as f64;
    let negative = rows.len() as f64 - positive;
    let (mut below, mut wins) = (0.0, 0.0);
    for tied in rows.chunk_by(|a, b| a.0 == b.0) {
        let positives = tied.iter().filter(|(_, outcome)| *outcome).count() as f64;
        let negatives = tied.len() as f64 - positives;
        wins += positives * (below + negatives / 2.0);
        below += negatives;
    }
    (positive > 0.0 && negative > 0.0).then(|| wins / positive / negative)
}
