use std::num::NonZero;

use clap::Args;
use serde_json::{Value as Json, json};
use unskew_batch::{
    AGE_BOUNDS_US, Audit, AuditError, AuditOptions, BackfillOptions, FeatureAudit, Label, Origin, Resources, Sample,
    ViewAudit, audit,
};

use crate::answer::{Answer, Facts, grouped, titled_table};
use crate::failure::Failure;
use crate::question::QuestionArgs;
use crate::watch::Watch;

/// Look for leaks: features that know what only the future could tell.
///
/// For each view it says how old the rows are that features are of, how many rows of the spine a join that knows no time would
/// have given a later row to, and which rows are of the time of their label or later. For each feature it says how well it alone
/// tells positive labels from negative ones: what predicts too well is suspicious. Some rows are traced to the file and the row
/// that their features are of. Nothing is written; the spine and the histories are held in memory: `--where` makes it less.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  unskew audit --service ranking --spine impressions.parquet --label clicked \\
    --module modules/ctr-history.wasm")]
pub struct AuditArgs {
    #[command(flatten)]
    question: QuestionArgs,
    /// What the model is to predict: a column of the spine that is 0 or 1, or false or true, or one and what a positive label is
    /// above, as in 'delay > 15'.
    #[arg(long, value_name = "COLUMN")]
    label: Option<Label>,
    /// The spine's column of the time when the outcome came to be.
    #[arg(long, value_name = "NAME")]
    label_time: Option<String>,
    /// The rows to trace.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    samples: usize,
    /// The AUC from which on a feature is suspicious.
    #[arg(long, value_name = "AUC", default_value_t = 0.95)]
    suspicious_auc: f64,
    /// The threads that it may use [default: one a core].
    #[arg(long, value_name = "COUNT")]
    threads: Option<NonZero<usize>>,
}

impl AuditArgs {
    pub fn run(self) -> Result<Answer, Failure> {
        let (project, loaded) = self.question.load()?;
        let default = Resources::default();
        let options = AuditOptions {
            backfill: BackfillOptions {
                resources: Resources {
                    threads: self.threads.map_or(default.threads, NonZero::get),
                    ..default
                },
                ..self.question.into_options()
            },
            label: self.label,
            label_time: self.label_time,
            samples: self.samples,
            suspicious_auc: self.suspicious_auc,
        };
        let watch = Watch::new();
        let found = audit(&project, &loaded.modules, &options, |step| watch.step(step));
        drop(watch);
        let found = found.map_err(|error| match error {
            AuditError::Backfill(error) => crate::backfill::explain(error, &project, &options.backfill),
            error => error.into(),
        })?;
        Ok(Answer::new(text(&found, &options), json(&found)))
    }
}

fn text(found: &Audit, options: &AuditOptions) -> String {
    let mut facts = Facts::default()
        .with("service", &options.backfill.service)
        .with("rows", grouped(found.rows));
    if let (Some(label), Some([positive, negative])) = (&options.label, found.labels) {
        let counts = format!(
            "{label}: {} positive, {} negative",
            grouped(positive),
            grouped(negative)
        );
        facts = facts.with("label", counts);
    }
    let suspicious = found.features.iter().filter(|feature| feature.is_suspicious).count();
    let verdict = match (found.is_clean(), &options.label) {
        (true, Some(_)) => "nothing is suspicious".to_owned(),
        (true, None) => "nothing is suspicious; give --label to look at what features tell".to_owned(),
        (false, _) => {
            let sum = |of: &dyn Fn(&ViewAudit) -> u64| found.views.iter().map(of).sum::<u64>();
            let after = sum(&|view| view.after_label.unwrap_or(0));
            let mistraced = sum(&|view| view.mistraced);
            let mut what = Vec::new();
            if suspicious > 0 {
                what.push(crate::answer::counted(suspicious as u64, "feature") + " too good to be true");
            }
            if after > 0 {
                what.push(crate::answer::counted(after, "row") + " with features of after the label");
            }
            if mistraced > 0 {
                what.push(crate::answer::counted(mistraced, "row") + " with values of no row that could be seen");
            }
            format!("SUSPICIOUS: {}", what.join(", "))
        }
    };
    let views: Vec<Vec<String>> = found.views.iter().map(view_line).collect();
    let ages: Vec<Vec<String>> = found.views.iter().map(age_line).collect();
    let features: Vec<Vec<String>> = found.features.iter().map(feature_line).collect();
    let samples: Vec<Vec<String>> = found.samples.iter().map(sample_line).collect();
    facts.with("verdict", verdict).text()
        + &titled_table(
            "views",
            &[
                "view",
                "found",
                "not found",
                "too old",
                "naive leaks",
                "late",
                "after label",
                "youngest",
                "median",
                "oldest",
            ],
            views,
        )
        + &titled_table("ages when used", &AGE_HEADER, ages)
        + &titled_table(
            "features against the label",
            &["feature", "present", "AUC", "AUC of presence", ""],
            features,
        )
        + &titled_table(
            "traced",
            &[
                "spine row",
                "prediction time",
                "view",
                "entity",
                "event time",
                "known at",
                "file",
                "row",
            ],
            samples,
        )
}

const AGE_HEADER: [&str; AGE_BOUNDS_US.len() + 2] = [
    "view", "0", "<= 1m", "<= 1h", "<= 6h", "<= 1d", "<= 7d", "<= 30d", "> 30d",
];

fn view_line(view: &ViewAudit) -> Vec<String> {
    let age = |share| view.ages.quantile(share).map_or(String::new(), duration);
    vec![
        view.view.clone(),
        grouped(view.ages.count()),
        grouped(view.not_found),
        grouped(view.expired),
        grouped(view.naive_leaks),
        view.late.map_or(String::new(), grouped),
        view.after_label.map_or(String::new(), grouped),
        age(0.0),
        age(0.5),
        age(1.0),
    ]
}

fn age_line(view: &ViewAudit) -> Vec<String> {
    let counts = view.ages.histogram().map(grouped);
    std::iter::once(view.view.clone()).chain(counts).collect()
}

fn feature_line(feature: &FeatureAudit) -> Vec<String> {
    let auc = |auc: Option<f64>| auc.map_or(String::new(), |auc| format!("{auc:.4}"));
    vec![
        feature.feature.clone(),
        grouped(feature.present),
        auc(feature.auc),
        auc(feature.presence_auc),
        if feature.is_suspicious { "SUSPICIOUS" } else { "" }.to_owned(),
    ]
}

fn sample_line(sample: &Sample) -> Vec<String> {
    let mut line = vec![
        (sample.row + 1).to_string(),
        sample.prediction_time.to_string(),
        match sample.events {
            Some(events) => format!("{} ({events} events)", sample.view),
            None => sample.view.clone(),
        },
        sample.entity.clone().unwrap_or_else(|| "none".to_owned()),
    ];
    match &sample.origin {
        Some(origin) => line.extend([
            origin.event_time.to_string(),
            origin.known_at.map_or(String::new(), |time| time.to_string()),
            origin.path.display().to_string(),
            origin.row.to_string(),
        ]),
        None => line.push("none".to_owned()),
    }
    line
}

fn json(found: &Audit) -> Json {
    let label = found
        .labels
        .map(|[positive, negative]| json!({ "positive": positive, "negative": negative }));
    json!({
        "rows": found.rows,
        "label": label,
        "is_clean": found.is_clean(),
        "views": found.views.iter().map(view_json).collect::<Json>(),
        "features": found.features.iter().map(feature_json).collect::<Json>(),
        "samples": found.samples.iter().map(sample_json).collect::<Json>(),
    })
}

fn view_json(view: &ViewAudit) -> Json {
    let bounds = AGE_BOUNDS_US.iter().map(|bound| json!(bound)).chain([Json::Null]);
    let kinds = bounds.zip(view.ages.histogram());
    json!({
        "view": view.view,
        "is_aggregate": view.is_aggregate,
        "found": view.ages.count(),
        "not_found": view.not_found,
        "expired": view.expired,
        "naive_leaks": view.naive_leaks,
        "late": view.late,
        "after_label": view.after_label,
        "mistraced": view.mistraced,
        "age_us": {
            "min": view.ages.quantile(0.0),
            "median": view.ages.quantile(0.5),
            "p99": view.ages.quantile(0.99),
            "max": view.ages.quantile(1.0),
        },
        "ages": kinds.map(|(bound, rows)| json!({ "up_to_us": bound, "rows": rows })).collect::<Json>(),
    })
}

fn feature_json(feature: &FeatureAudit) -> Json {
    json!({
        "feature": feature.feature,
        "present": feature.present,
        "auc": feature.auc,
        "presence_auc": feature.presence_auc,
        "is_suspicious": feature.is_suspicious,
    })
}

fn sample_json(sample: &Sample) -> Json {
    let origin = |origin: &Origin| {
        json!({
            "path": origin.path.display().to_string(),
            "row": origin.row,
            "event_time": origin.event_time.to_string(),
            "known_at": origin.known_at.map(|time| time.to_string()),
        })
    };
    json!({
        "row": sample.row + 1,
        "prediction_time": sample.prediction_time.to_string(),
        "view": sample.view,
        "entity": sample.entity,
        "origin": sample.origin.as_ref().map(origin),
        "events": sample.events,
    })
}

/// An age in its two greatest units.
fn duration(us: i64) -> String {
    const UNITS: [(&str, i64); 6] = [
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1_000),
        ("us", 1),
    ];
    let (mut rest, mut text, mut shown) = (us, String::new(), 0);
    for (unit, size) in UNITS {
        if size <= rest && shown < 2 {
            text += &format!("{}{unit}", rest / size);
            rest %= size;
            shown += 1;
        } else if shown > 0 {
            shown = 2;
        }
    }
    if text.is_empty() { "0".to_owned() } else { text }
}
