//! Sources, spines and outputs that are objects.

use std::path::PathBuf;

use super::*;
use crate::finish::OUTPUT;
use crate::storage::tests::Bucket;
use crate::unfinished::Unfinished;

/// A fixture whose files are objects too, below `s3://lake`.
struct Lake {
    files: Fixture,
    bucket: Arc<Bucket>,
    project: Project,
}

impl Lake {
    fn new() -> Self {
        let files = Fixture::new(&many_rows(400, 1), &many_rows(900, 2), &many_rows(700, 3), 128);
        let bucket = Arc::new(Bucket::default());
        for name in ["spine", "users", "pairs"] {
            let bytes = fs::read(files.directory.path().join(format!("{name}.parquet"))).unwrap();
            bucket.put(&format!("s3://lake/{name}.parquet"), bytes);
        }
        let text = PROJECT.replace("path = \"", "path = \"s3://lake/");
        let project = Project::parse(&files.directory.path().join("lake.toml"), &text).unwrap();
        let project = project.with_storage(bucket.storage());
        Self { files, bucket, project }
    }

    fn options(&self) -> BackfillOptions {
        BackfillOptions {
            spine: "s3://lake/spine.parquet".into(),
            ..self.files.options(64 << 10, 2, None)
        }
    }

    fn backfill(&self, options: &BackfillOptions) -> Result<crate::Backfilled, BackfillError> {
        let out = Path::new("s3://lake/out/train.parquet");
        backfill(&self.project, &BTreeMap::new(), options, out, |_| ())
    }
}

#[test]
fn objects_are_read_and_written_like_files() {
    let lake = Lake::new();
    let expected = lake.files.backfill(&lake.files.options(1 << 30, 2, None));
    let made = lake.backfill(&lake.options()).unwrap();
    assert_eq!(made.manifest.output, expected);
    let written = lake.bucket.get("s3://lake/out/train.parquet").unwrap();
    assert_eq!(unskew::Digest::of(&written), expected);
    assert_eq!(made.manifest.verify(lake.project.storage(), &made.output.path), []);
    let inputs: Vec<&Path> = made.manifest.inputs.iter().map(|input| input.path.as_path()).collect();
    let expected = ["pairs", "spine", "users"].map(|name| PathBuf::from(format!("s3://lake/{name}.parquet")));
    assert_eq!(inputs, expected);

    // There is nothing left, and nothing to do again.
    let written = ["out/train.parquet", "out/train.parquet.manifest.json"].map(|name| format!("s3://lake/{name}"));
    let urls = lake.bucket.urls();
    assert_eq!(
        urls.iter().filter(|url| url.contains("/out/")).collect::<Vec<_>>(),
        written.each_ref()
    );
    assert_eq!(lake.files.leftovers(), Vec::<String>::new());
    let mut options = lake.options();
    options.output.overwrite = false;
    let error = lake.backfill(&options).unwrap_err();
    assert!(
        matches!(error, BackfillError::Write(crate::WriteError::Exists { .. })),
        "{error}"
    );
    options.resume = true;
    assert_eq!(lake.backfill(&options).unwrap().manifest.output, made.manifest.output);
}

/// An output whose last step is done again: it was written, and the process was ended before it knew.
#[test]
fn an_output_that_was_written_may_be_written_again() {
    let lake = Lake::new();
    let mut options = lake.options();
    options.output.overwrite = false;
    let out = Path::new("s3://lake/out/train.parquet");
    let made = lake.backfill(&options).unwrap();
    let bytes = lake.bucket.get("s3://lake/out/train.parquet").unwrap();

    let folder = tempfile::tempdir().unwrap();
    let begin = |bytes: &[u8]| {
        let job = crate::job::Job::default();
        let unfinished = Unfinished::open(out, Some(folder.path()), &job, crate::unfinished::Begin::Anew).unwrap();
        fs::write(unfinished.file(OUTPUT), bytes).unwrap();
        unfinished
    };
    let finish = |bytes: &[u8]| {
        let manifest = made.manifest.clone();
        crate::finish::finish(lake.project.storage(), begin(bytes), out, manifest).map(drop)
    };
    finish(&bytes).unwrap();
    let error = finish(b"another").unwrap_err();
    assert!(
        matches!(error, BackfillError::Write(crate::WriteError::Exists { .. })),
        "{error}"
    );
    assert_eq!(lake.bucket.get("s3://lake/out/train.parquet").unwrap(), bytes);
}
