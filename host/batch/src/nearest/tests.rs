use super::*;

#[test]
fn nearest_is_the_fewest_edits_away_or_none() {
    let known = ["impressions", "items", "users"];
    let check = |name, expected| assert_eq!(nearest(name, known), expected, "{name}");
    check("impresions", Some("impressions"));
    check("Items", Some("items"));
    check("item", Some("items"));
    check("user", Some("users"));
    check("clicks", None);
    assert_eq!(nearest("y", ["x", "yy"]), None);
    assert_eq!(nearest("Y", ["x", "y"]), Some("y"));
    check("", None);
    assert_eq!(edit_distance("kitten", "sitting"), 3);
    assert_eq!(edit_distance("", "abc"), 3);
}
