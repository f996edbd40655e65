use super::*;

/// Lists a folder of empty files with these paths: each file's path and what its directories say, or the error.
#[track_caller]
fn check(files: &[&str], expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let shown = match Listing::of(&Storage::default(), folder.path()) {
        Err(error) => error.to_string(),
        Ok(listing) => {
            let of_file = |file: &SourceFile| {
                let path = file.path.strip_prefix(folder.path()).unwrap().display().to_string();
                let values = file
                    .partitions
                    .iter()
                    .map(|partition| partition.value.as_deref().unwrap_or("-"));
                format!("{path} {}", values.collect::<Vec<_>>().join(","))
            };
            let files: Vec<String> = listing.files.iter().map(of_file).collect();
            format!("{:?} {}", listing.partition_types, files.join("; "))
        }
    };
    assert_eq!(shown.replace(&folder.path().display().to_string(), "F"), expected);
}

#[test]
fn directories_are_columns() {
    check(
        &["b.parquet", "a.parquet", "_c.parquet", ".d.parquet", "e.txt"],
        "[] a.parquet ; b.parquet ",
    );
    check(
        &[
            "date=2026-01-02/x.parquet",
            "date=2026-01-01/x.parquet",
            "_temporary/0/x.parquet",
        ],
        "[Date32] date=2026-01-01/x.parquet 2026-01-01; date=2026-01-02/x.parquet 2026-01-02",
    );
    check(
        &["n=7/c=a%20b%2F/x.parquet", "n=8/c=__HIVE_DEFAULT_PARTITION__/x.parquet"],
        "[Int64, Utf8] n=7/c=a%20b%2F/x.parquet 7,a b/; n=8/c=__HIVE_DEFAULT_PARTITION__/x.parquet 8,-",
    );
    check(
        &["n=07/x.parquet", "n=%zz/x.parquet"],
        "[Utf8] n=%zz/x.parquet %zz; n=07/x.parquet 07",
    );
    // Directories that say nothing are looked into all the same: no row is passed over.
    check(
        &["2026/01/x.parquet", "2026/02/x.parquet"],
        "[] 2026/01/x.parquet ; 2026/02/x.parquet ",
    );
}

#[test]
fn files_that_are_not_laid_out_alike_are_named() {
    check(&["date=2026-01-01/x.txt"], "F: the directory has no .parquet files");
    check(
        &["a.parquet", "date=2026-01-01/x.parquet"],
        "F/date=2026-01-01/x.parquet: its directories are named after date, those of the first file, F/a.parquet, after no \
         column: give a directory in which all files are laid out alike",
    );
}

#[cfg(unix)]
#[test]
fn a_circle_of_links_ends() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).unwrap();
    let error = Listing::of(&Storage::default(), folder.path()).unwrap_err();
    assert!(matches!(error, ReadError::Open { .. }), "{error}");
}
