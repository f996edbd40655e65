use unskew_frame::Value;

use super::*;

fn numbers(rows: usize) -> Column {
    let mut column = Column::new(ColumnType::F64);
    (0..rows).for_each(|row| column.push_f64(row as f64));
    column
}

fn capacities(sample: &Sample) -> Vec<usize> {
    sample.frames.iter().chain(&sample.outputs).map(Vec::capacity).collect()
}

/// A request of 300 candidates with 20 inputs and 20 outputs is copied into what was set aside.
#[test]
fn a_sample_takes_no_memory_that_was_not_set_aside() {
    let audit = Audit::new(1);
    let column = numbers(300);
    let text = Column::scalar(ColumnType::String, Value::String("sports")).unwrap();
    let inputs: Vec<&Column> = (0..19).map(|_| &column).chain([&text]).collect();
    let outputs = vec![column.clone(); 20];
    for _ in 0..2 * SAMPLES {
        let mut sample = audit.free.pop().unwrap();
        let before = capacities(&sample);
        sample.rows = 300;
        assert!(sample.fill([(&inputs, 300), (&[], 0)], &outputs));
        assert_eq!(capacities(&sample), before);
        let types: Vec<ColumnType> = inputs.iter().map(|column| column.column_type()).collect();
        let copied = columns(&sample.frames[0], &types).unwrap();
        assert!(copied.iter().eq(inputs.iter().copied()));
        audit.free.push(sample).unwrap();
    }
}

#[test]
fn a_sampler_takes_one_call_in_so_many() {
    let due = |every: u32| {
        let mut sampler = Sampler::new(&Arc::new(Audit::new(every)), 1);
        let mut due = Vec::new();
        for call in 1..=9 {
            if sampler.is_due() {
                due.push(call);
                sampler.until_next = sampler.audit.every;
            }
        }
        due
    };
    assert_eq!(due(0), Vec::<i32>::new());
    assert_eq!(due(4), [4, 8]);
    assert_eq!(due(1), (1..=9).collect::<Vec<_>>());
    assert!(
        Audit::new(0).free.is_empty(),
        "nothing is set aside for an audit that is off"
    );
}
