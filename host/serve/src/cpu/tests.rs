use super::*;

#[test]
fn a_machine_has_every_level_below_its_best() {
    let best = Cpu::best();
    for cpu in Cpu::ALL {
        assert_eq!(cpu.is_supported(), cpu <= best, "{cpu}");
    }
}

#[test]
fn levels_are_read_as_they_are_written() {
    for cpu in Cpu::ALL {
        assert_eq!(cpu.to_string().parse(), Ok(cpu));
    }
    assert_eq!(
        "x86-64-v9".parse::<Cpu>().unwrap_err().to_string(),
        "`x86-64-v9` is no level of a processor: use baseline, v2 or v3"
    );
}
