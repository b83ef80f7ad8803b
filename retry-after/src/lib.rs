//! For how long a server asks to be left alone: the header `Retry-After` of RFC 9110, as our clients read it.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use http::HeaderMap;
//! use http::header::RETRY_AFTER;
//! use driftline_retry_after::retry_after;
//!
//! let mut headers = HeaderMap::new();
//! headers.insert(RETRY_AFTER, "30".parse().unwrap());
//! assert_eq!(retry_after(&headers, SystemTime::now()), Some(Duration::from_secs(30)));
//! ```

use std::time::{Duration, SystemTime};

use http::header::{DATE, HeaderMap, RETRY_AFTER};

/// Nobody is left alone for longer, whatever they ask: a mistake in a server's clock or header must not silence us for a week.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// How long the server asks to wait, up to [`LONGEST`]; none when it asks for nothing that can be read. It is seconds, or a
/// date by the server's clock: that is held against the `Date` of the same answer, where there is one, since no two clocks
/// agree, and against `now` otherwise. A date that is over asks for no time at all.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let asked = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !asked.is_empty() && asked.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are more than the longest.
        return Some(asked.parse().map_or(LONGEST, Duration::from_secs).min(LONGEST));
    }
    let until = httpdate::parse_http_date(asked).ok()?;
    let sent_at = headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    Some(until.duration_since(sent_at.unwrap_or(now)).unwrap_or_default().min(LONGEST))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn asked(value: &str, date: Option<&str>, now: SystemTime) -> Option<u64> {
        let mut headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
        headers.extend(date.map(|date| (DATE, date.parse().unwrap())));
        retry_after(&headers, now).map(|wait| wait.as_secs())
    }

    /// 06 Nov 1994, 08:49:37: the day of RFC 9110.
    const NOW: u64 = 784_111_777;

    #[test]
    fn seconds_and_the_three_forms_of_dates_are_read() {
        assert_eq!(asked("120", None, at(NOW)), Some(120));
        assert_eq!(asked(" 0 ", None, at(NOW)), Some(0));
        for date in ["Sun, 06 Nov 1994 08:50:37 GMT", "Sunday, 06-Nov-94 08:50:37 GMT", "Sun Nov  6 08:50:37 1994"] {
            assert_eq!(asked(date, None, at(NOW)), Some(60), "{date}");
        }
    }

    #[test]
    fn a_date_is_by_the_clock_of_whoever_sent_it() {
        let an_hour_ahead = Some("Sun, 06 Nov 1994 09:49:37 GMT");
        assert_eq!(asked("Sun, 06 Nov 1994 09:50:07 GMT", an_hour_ahead, at(NOW)), Some(30));
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:07 GMT", Some("yesterday"), at(NOW)), Some(30));
    }

    #[test]
    fn nobody_is_waited_for_longer_than_the_longest_and_nothing_is_waited_for_what_is_over() {
        let longest = Some(LONGEST.as_secs());
        assert_eq!(asked("3601", None, at(NOW)), longest);
        assert_eq!(asked("99999999999999999999999", None, at(NOW)), longest);
        assert_eq!(asked("Fri, 31 Dec 9999 23:59:59 GMT", None, at(NOW)), longest);
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:00 GMT", None, at(NOW)), Some(0));
    }

    #[test]
    fn what_is_neither_asks_for_nothing() {
        for wrong in ["", "-1", "+5", "1.5", "soon", "60s", "Sun, 06 Nov 1994", "1994-11-06T08:49:37Z"] {
            assert_eq!(asked(wrong, None, at(NOW)), None, "{wrong}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), at(NOW)), None);
    }

    proptest! {
        #[test]
        fn no_header_is_more_than_the_longest(
            value in proptest::collection::vec(any::<u8>(), 0..60),
            date in "[A-Za-z0-9:, ]{0,40}",
            now in any::<u32>(),
        ) {
            let mut headers = HeaderMap::new();
            headers.extend(HeaderValue::from_bytes(&value).ok().map(|value| (RETRY_AFTER, value)));
            headers.extend(date.parse().ok().map(|date: HeaderValue| (DATE, date)));
            prop_assert!(retry_after(&headers, at(now.into())).is_none_or(|wait| wait <= LONGEST));
        }
    }
}
