//! A project small enough to compute by hand.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use unskew_tests::component;

pub const PROJECT: &str = r#"[project]
name = "shop"

[[entity]]
name = "item"
keys = [{ name = "item_id", type = "i64" }]

[[source]]
name = "impressions"
path = "impressions.csv"
event_time = "time"

[[source]]
name = "prices"
path = "prices.csv"
event_time = "time"

[[view]]
name = "item_ctr"
entity = "item"
source = "impressions"
module = "ctr-history"
inputs = { prior_ctr = 0.1, prior_weight = 10 }

[[view]]
name = "item_price"
entity = "item"
source = "prices"
ttl = "7d"
features = [{ name = "price", type = "f64" }, { name = "label", type = "string" }]

[[view]]
name = "unread"
entity = "item"
source = "prices"
features = [{ name = "price", type = "f64" }]

[[service]]
name = "pricing"
request = [{ name = "item_id", type = "i64" }]
features = ["item_price:price"]

[[service]]
name = "ranking"
request = [{ name = "user_segment", type = "string", nullable = true }]
candidate = [
  { name = "item_id", type = "i64" },
  { name = "position", type = "i64", nullable = true },
  { name = "floor_price", type = "f64", nullable = true },
]
features = ["item_ctr:impressions_1d", "item_ctr:clicks_7d", "item_ctr:ctr_7d", "item_price:price", "context:hour"]

[[service.transform]]
name = "context"
module = "request-context"
inputs = { ctr_1d = "item_ctr:ctr_1d", ctr_7d = "item_ctr:ctr_7d" }
"#;

pub const IMPRESSIONS: &str = "\
item_id,time,clicked
1,2024-01-10T00:00:00Z,1
1,2024-01-14T10:00:00Z,0
1,2024-01-14T12:00:00Z,1
2,2024-01-14T13:00:00Z,0
";

pub const PRICES: &str = "\
item_id,time,price,label
1,2024-01-01T00:00:00Z,9.5,old
1,2024-01-13T00:00:00Z,8.25,new
1,2024-01-13T00:00:00Z,8.25,neu
2,2024-01-02T00:00:00Z,3,
2,2024-01-02T00:00:00Z,4,
";

pub const SPINE: &str = "\
prediction_time,item_id,user_segment,position,clicked
2024-01-14T12:30:00Z,1,de,1,1
2024-01-14T12:30:00Z,2,de,2,0
2024-01-14T12:30:00Z,9,,3,0
";

/// The project, its sources and a spine in a folder of their own.
pub fn shop() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, content) in [
        ("unskew.toml", PROJECT),
        ("impressions.csv", IMPRESSIONS),
        ("prices.csv", PRICES),
        ("spine.csv", SPINE),
    ] {
        write(folder.path(), name, content);
    }
    folder
}

/// [`shop`] with the components that it uses.
pub fn shop_with_components() -> TempDir {
    let folder = shop();
    for name in ["ctr-history", "request-context"] {
        write(folder.path(), &format!("{name}.wasm"), component(name));
    }
    folder
}

/// A file in a folder.
pub fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    fs::write(folder.join(name), content).expect("the folder can be written");
}

/// Every file below a folder, without compiled modules and their stores' locks.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    found
}
