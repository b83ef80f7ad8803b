//! What an expression says, and where it is wrong.

use proptest::prelude::*;

use super::*;

fn unit(variable: &Variable) -> Result<Unit, String> {
    match (variable.name.as_str(), variable.over) {
        ("psi" | "ks" | "missing_share" | "rows", None) | ("latency", Some(_)) => Ok(Unit::Number),
        ("p99", Some(_)) => Ok(Unit::Time),
        (name, over) => Err(format!("'{name}' over {over:?}")),
    }
}

fn holds(text: &str, values: &[Option<f64>]) -> Option<bool> {
    Expression::parse(text, unit).unwrap_or_else(|error| panic!("{text}: {error}")).holds(values)
}

fn error(text: &str) -> String {
    Expression::parse(text, unit).unwrap_err().to_string()
}

#[test]
fn it_binds_as_everybody_expects() {
    for (text, holds_it) in [
        ("1 + 2 * 3 = 7", true),
        ("(1 + 2) * 3 = 9", true),
        ("10 - 2 - 3 = 5", true),
        ("12 / 2 / 3 = 2", true),
        ("-2 - -3 = 1", true),
        ("1 = 2 or 1 = 1 and 2 = 2", true),
        ("(1 = 2 or 1 = 1) and 2 = 3", false),
        ("not 1 = 2 and 2 = 2", true),
        ("not (1 = 1 and 2 = 2)", false),
        ("5% = 0.05", true),
        ("90s = 1.5m and 1500ms = 1.5s and 2h > 1h and 1d = 24h", true),
        ("2h / 30m = 4 and 3 * 10s = 30s", true),
        ("1 != 2 and 1 <= 1 and 1 >= 1 and 1 < 2 and 2 > 1", true),
        ("1 == 1", true),
    ] {
        assert_eq!(holds(text, &[]), Some(holds_it), "{text}");
    }
    assert_eq!(holds("psi > 0.2 and missing_share < 5%", &[Some(0.3), Some(0.01)]), Some(true));
    assert_eq!(holds("p99[5m] > 300ms", &[Some(0.31)]), Some(true));
}

#[test]
fn what_is_not_known_makes_unknown_what_depends_on_it() {
    assert_eq!(holds("psi > 0.2 or ks > 0.1", &[None, Some(0.2)]), Some(true));
    assert_eq!(holds("psi > 0.2 or ks > 0.1", &[None, Some(0.0)]), None);
    assert_eq!(holds("psi > 0.2 and ks > 0.1", &[None, Some(0.0)]), Some(false));
    assert_eq!(holds("not psi > 0.2", &[None]), None);
    assert_eq!(holds("psi / rows > 1", &[Some(1.0), Some(0.0)]), None, "a division by zero");
    assert_eq!(holds("psi > 0.2", &[]), None);
}

#[test]
fn a_name_is_one_value_however_often_it_comes() {
    let expression = Expression::parse("psi > 0.1 and psi < 0.2 and latency[5m] < latency[1h]", unit).unwrap();
    let names: Vec<_> = expression.variables().iter().map(|variable| (&*variable.name, variable.over)).collect();
    let over = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(names, [("psi", None), ("latency", over(300)), ("latency", over(3600))]);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, said) in [
        ("", "at character 1: something is missing: a name, a number or '(' is expected"),
        ("psi", "at character 1: it is a number, and has to be true or false, as in psi > 0.2"),
        ("psi > 0.2 psi", "at character 11: 'and', 'or' or the end is expected"),
        ("psi > 0.2 and", "at character 14: something is missing: a name, a number or '(' is expected"),
        ("(psi > 0.2", "at character 11: ')' is expected, for the '(' at character 1"),
        ("psi > 0.2 and ks", "at character 15: this is a number, and has to be true or false"),
        ("psi and ks > 1", "at character 1: this is a number, and has to be true or false"),
        ("psi > 5m", "at character 5: a number is compared with a time"),
        ("p99[5m] + 1 > 2s", "at character 9: a time and a number cannot be calculated with like this"),
        ("psi > 1 > 2", "at character 9: 'and', 'or' or the end is expected"),
        ("psi > 0.2 und ks > 1", "at character 11: 'and', 'or' or the end is expected"),
        ("é > 1", "at character 1: '\\u{e9}' means nothing here"),
        ("psi > 5min", "at character 7: 'min' is no unit; units are %, ms, s, m, h and d"),
        ("psi > 1.2.3", "at character 7: '1.2.3' is no number"),
        ("latency[x] > 1", "at character 1: 'latency' needs a time in its brackets, as in latency[5m]"),
        ("latency[5m > 1", "at character 1: 'latency[' has no ']'"),
        ("- (psi > 1)", "at character 1: what is true or false has no sign"),
        ("psi > 0.2 and odd > 1", "at character 15: 'odd' over None"),
    ] {
        assert_eq!(error(text), said, "{text}");
    }
    assert!(error(&"(".repeat(100)).contains("more than 64 parentheses"));
    assert!(error(&"x".repeat(1001)).contains("longer than 1000 bytes"));
    let many: Vec<String> = (1..=9).map(|hours| format!("latency[{hours}h] > 1")).collect();
    assert!(error(&many.join(" and ")).contains("more than 8 different names"));
}

proptest! {
    #[test]
    fn any_text_is_an_expression_or_says_where_it_is_none(text in "[a-z0-9_.<>=!+*/()\\[\\] %é-]{0,60}") {
        if let Err(error) = Expression::parse(&text, |_| Ok(Unit::Number)) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.character), "{}", error);
        }
    }

    #[test]
    fn knowing_more_never_takes_back_what_was_known(
        values in prop::collection::vec(prop::option::of(-2.0..2.0f64), 3), more in prop::collection::vec(-2.0..2.0f64, 3),
        text in prop::sample::select(vec![
            "psi > 0 and ks > 0 or rows < 1", "not (psi > ks or ks > rows)", "psi * ks > rows and not rows = 0",
        ]),
    ) {
        let before = holds(text, &values);
        let filled: Vec<Option<f64>> = values.iter().zip(&more).map(|(value, more)| value.or(Some(*more))).collect();
        prop_assert!(before.is_none() || before == holds(text, &filled));
    }
}

fn may_hold(text: &str, bounds: &[Option<std::ops::RangeInclusive<f64>>]) -> bool {
    Expression::parse(text, unit).unwrap().may_hold(bounds)
}

#[test]
fn what_is_known_within_bounds_may_hold_or_not() {
    let (small, large) = (Some(0.0..=0.1), Some(0.2..=0.4));
    for (text, psi, ks, expected) in [
        ("psi > 0.2", &small, &None, false),
        ("psi > 0.2", &large, &None, true),
        ("psi >= 0.1 or ks > 0.3", &small, &large, true),
        ("psi > 0.1 or ks > 0.4", &small, &large, false),
        ("psi > ks", &small, &large, false),
        ("psi > 0.4 * ks", &small, &large, true),
        ("psi + ks > 0.5", &small, &large, false),
        ("not psi > 0.2", &small, &None, true),
        ("not psi < 0.2", &small, &None, false),
        ("psi / ks > 0.5", &small, &large, false),
        ("psi / ks > 100", &large, &small, true),
        ("-psi > -0.05", &small, &None, true),
        ("-psi > 0", &small, &None, false),
    ] {
        assert_eq!(may_hold(text, &[psi.clone(), ks.clone()]), expected, "{text}");
    }
    // What has no value decides nothing, neither way.
    assert!(!may_hold("psi > 0.2", &[None]) && !may_hold("not psi > 0.2", &[None]));
    assert!(may_hold("psi > 0.2 or ks > 0.1", &[None, Some(0.2..=0.4)]));
}

proptest! {
    #[test]
    fn what_holds_for_some_values_may_hold_for_bounds_around_them(
        text in proptest::sample::select(vec![
            "psi > ks", "psi - ks >= missing_share", "not (psi < ks or missing_share = ks)", "psi * ks != missing_share",
            "psi / ks > missing_share and psi < 1", "-psi < ks * 2 or not missing_share <= psi",
        ]),
        values in proptest::array::uniform3((-2i8..=2, 0u8..3, 0u8..3, any::<bool>())),
    ) {
        let known = values.map(|(value, _, _, is_known)| is_known.then_some(f64::from(value)));
        let bounds = values.map(|(value, below, above, is_known)| {
            let range = f64::from(value) - f64::from(below)..=f64::from(value) + f64::from(above);
            is_known.then_some(range)
        });
        let expression = Expression::parse(text, unit).unwrap();
        let index = |name: &str| ["psi", "ks", "missing_share"].iter().position(|known| *known == name).unwrap();
        let places: Vec<usize> = expression.variables().iter().map(|variable| index(&variable.name)).collect();
        let values: Vec<Option<f64>> = places.iter().map(|place| known[*place]).collect();
        let bounds: Vec<_> = places.iter().map(|place| bounds[*place].clone()).collect();
        prop_assert!(expression.holds(&values) != Some(true) || expression.may_hold(&bounds));
    }
}
