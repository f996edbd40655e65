//! The store that the examples serve from. A service in production has one that `unskew publish` made.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use unskew::{EventTime, Module, Runtime, Store};
use unskew_batch::{Project, publish};
use unskew_registry::{BuildOptions, build_component, load_modules};

const HOUR_US: i64 = 3_600_000_000;
/// The items are 1 to this; the last was never clicked.
pub const ITEMS: i64 = 8;

/// A project with a week of impressions, and its store.
pub struct Shop {
    project: Project,
    modules: BTreeMap<String, Module>,
    /// The store.
    pub store: Store,
}

impl Shop {
    /// In `directory`: builds three transforms, writes the impressions of the week before `now`, and publishes a generation
    /// as of `now`.
    pub fn open(directory: &Path, now: EventTime) -> Result<Self, Box<dyn Error>> {
        fs::create_dir_all(directory)?;
        let path = directory.join("unskew.toml");
        fs::write(&path, include_str!("../shop/unskew.toml"))?;
        fs::write(directory.join("items.csv"), items(now)?)?;
        fs::write(directory.join("impressions.csv"), impressions(now)?)?;

        let store = Store::new(directory.join("store"));
        let shop = Self {
            project: Project::load(&path)?,
            modules: load_modules(&Runtime::new()?, &store, &components()?)?,
            store,
        };
        shop.publish(now)?;
        Ok(shop)
    }

    /// Publishes the next generation, of what was known before `watermark`, and gives its number.
    pub fn publish(&self, watermark: EventTime) -> Result<u64, Box<dyn Error>> {
        let views = self.project.catalog().views.iter().map(|view| view.name.as_str());
        let manifest = publish(&self.project, &self.modules, &self.store, views, watermark, |_| ())?;
        Ok(manifest.generation)
    }
}

fn components() -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = examples.parent().ok_or("the examples lie in no repository")?;
    let options = BuildOptions {
        target_dir: Some(root.join("target/wasm")),
        ..BuildOptions::default()
    };
    [
        "transforms/ctr-history",
        "transforms/request-context",
        "examples/cost-per-click",
    ]
    .iter()
    .map(|path| Ok(build_component(&root.join(path), &options)?.component))
    .collect()
}

fn items(now: EventTime) -> Result<String, std::fmt::Error> {
    let mut rows = "listed_at,item_id,price,spend_micros\n".to_owned();
    for item in 1..=ITEMS {
        let listed_at = now.0 - 30 * 24 * HOUR_US;
        writeln!(rows, "{listed_at},{item},{}.5,{}", 10 * item, 1_000_000 * item)?;
    }
    Ok(rows)
}

/// Every hour each item is shown four times; the lower its number, the more often it is clicked.
fn impressions(now: EventTime) -> Result<String, std::fmt::Error> {
    let mut rows = "time,item_id,clicked\n".to_owned();
    for hour in 1..=7 * 24 {
        for item in 1..=ITEMS {
            for minute in 0..4 {
                let at = now.0 - hour * HOUR_US + minute * 60_000_000;
                let is_clicked = item < ITEMS && minute == 0 && hour % item == 0;
                writeln!(rows, "{at},{item},{}", i64::from(is_clicked))?;
            }
        }
    }
    Ok(rows)
}
