use crate::shop::{IMPRESSIONS, PRICES, shop_with_components, write};
use crate::transcript::Transcript;

fn materialize<'a>(view: &'a str, watermark: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["materialize", "--view", view, "--watermark", watermark, "--out", out];
    [&fixed[..], more].concat()
}

/// Snapshots that went on from the one before, whole and as deltas, against their events from the beginning.
#[test]
fn a_snapshot_is_what_its_events_give() {
    let folder = shop_with_components();
    let module = ["--module", "ctr-history.wasm"];
    let rebuild = |more: &[&'static str]| [&["rebuild"][..], more].concat();
    let price = |watermark, out, more: &[&'static str]| materialize("item_price", watermark, out, more);
    let prices = rebuild(&["base.snapshot", "--delta", "one.delta"]);
    let mut session = Transcript::new(folder.path());
    session
        .run(
            0,
            &materialize("item_ctr", "2024-01-14T11:00:00Z", "ctr.snapshot", &module),
        )
        .run(
            0,
            &materialize(
                "item_ctr",
                "2024-01-14T12:30:00Z",
                "next.snapshot",
                &[&["--incremental", "ctr.snapshot"], &module[..]].concat(),
            ),
        )
        .run(0, &rebuild(&["next.snapshot", "--module", "ctr-history.wasm"]))
        .run(0, &price("2024-01-02", "base.snapshot", &[]))
        .run(0, &price("2024-01-14", "one.delta", &["--delta-from", "base.snapshot"]))
        .run(0, &prices)
        .run(0, &[&prices[..], &["--out", "rebuilt.snapshot", "--json"]].concat())
        .run(1, &[&prices[..], &["--out", "rebuilt.snapshot"]].concat());

    // What came late, behind a watermark and without a known-at.
    write(
        folder.path(),
        "impressions.csv",
        format!("{IMPRESSIONS}2,2024-01-14T09:00:00Z,1\n"),
    );
    write(folder.path(), "prices.csv", PRICES.replace("8.25,neu", "8.5,neu"));
    session.run(3, &[&prices[..], &["--keys", "1"]].concat()).run(
        3,
        &rebuild(&["next.snapshot", "--module", "ctr-history.wasm", "--keys", "0"]),
    );
    session.expect("rebuild");
}

/// States that a module no longer writes, and a view that the project does not have.
#[test]
fn a_snapshot_of_other_states_is_made_anew() {
    let folder = shop_with_components();
    let build = |view, out| {
        let fixed = [
            "snapshot",
            "build",
            out,
            "--from",
            "prices.csv",
            "--duplicates",
            "as-of",
        ];
        let of_view = ["--view", view, "--key", "item_id:i64", "--feature", "price:f64"];
        let times = ["--event-time", "time", "--watermark", "2024-01-14T12:30:00Z"];
        [&fixed[..], &of_view, &times].concat()
    };
    Transcript::new(folder.path())
        .run(0, &build("item_ctr", "old.snapshot"))
        .run(
            3,
            &[
                "rebuild",
                "old.snapshot",
                "--module",
                "ctr-history.wasm",
                "--out",
                "new.snapshot",
            ],
        )
        .run(0, &["rebuild", "new.snapshot", "--module", "ctr-history.wasm"])
        .run(0, &build("item_cost", "unknown.snapshot"))
        .run(1, &["rebuild", "unknown.snapshot"])
        .expect("rebuild-states");
}
