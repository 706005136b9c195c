//! The list of obligations in `src/h2/MUSTS.md` names tests: they exist, and the list leaves out no
//! section.

/// Every file that holds a test of the list.
const SOURCES: &[&str] = &[
    include_str!("attacks.rs"),
    include_str!("features.rs"),
    include_str!("flow.rs"),
    include_str!("frames.rs"),
    include_str!("heads.rs"),
    include_str!("priorities.rs"),
    include_str!("sim.rs"),
    include_str!("states.rs"),
    include_str!("../../src/h2/request.rs"),
    include_str!("../../src/h2/settings.rs"),
];

fn rows() -> Vec<[&'static str; 3]> {
    let list = include_str!("../../src/h2/MUSTS.md");
    let rows = list.lines().filter(|line| line.starts_with("| ") && !line.contains("obligation"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        cells.try_into().expect("three cells")
    })
    .collect()
}

fn is_a_test(name: &str) -> bool {
    let test = format!("#[test]\nfn {name}()");
    SOURCES.iter().any(|s| s.replace("    ", "").contains(&test))
}

#[test]
fn every_test_of_the_list_exists() {
    assert!(rows().len() > 90);
    for [section, obligation, test] in rows() {
        assert!(is_a_test(test.trim_matches('`')), "{section} {obligation}: no test {test}");
    }
    assert!(!is_a_test("no_such_test"));
}

#[test]
fn the_list_is_in_order_and_covers_sections_3_to_8() {
    let key = |s: &str| -> Vec<u32> { s.split('.').map(|n| n.parse().unwrap()).collect() };
    let sections: Vec<_> = rows().iter().map(|[section, ..]| key(section)).collect();
    assert!(sections.is_sorted());
    for section in 3..=8 {
        assert!(sections.iter().any(|s| s[0] == section));
    }
    for frame in 1..=10 {
        assert!(sections.iter().any(|s| s.starts_with(&[6, frame])), "6.{frame}");
    }
}

/// Every row of the attack list that concerns this crate, and every feature row, has a test named
/// after it.
#[test]
fn rows_are_named() {
    let named = |prefix: &str| SOURCES.iter().any(|s| s.contains(&format!("fn {prefix}_")));
    for row in 40..=55 {
        assert!(named(&format!("row_{row}")), "attack row {row}");
    }
    let elsewhere = [14, 16, 18]; // tables and Huffman are HPACK's, BREACH the server's
    for row in (1..=29).filter(|row| !elsewhere.contains(row)) {
        assert!(named(&format!("c{row}")), "feature row C{row}");
    }
}
