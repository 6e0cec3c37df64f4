//! The names of key files carry the moment they were made.

use std::time::{SystemTime, UNIX_EPOCH};

use primitives::{Address, hex};

const SECONDS_PER_DAY: u64 = 86_400;

/// The name geth gives a key file: `UTC--2020-11-26T14-16-16.634178075Z--<40 hex>`.
///
/// A moment before 1970 counts as 1970.
pub(crate) fn file_name(created: SystemTime, address: Address) -> String {
    let since_epoch = created.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) =
        (since_epoch.as_secs() / SECONDS_PER_DAY, since_epoch.as_secs() % SECONDS_PER_DAY);
    let (year, month, day) = date(days);
    format!(
        "UTC--{year:04}-{month:02}-{day:02}T{:02}-{:02}-{:02}.{:09}Z--{}",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since_epoch.subsec_nanos(),
        hex::encode(address),
    )
}

/// Year, month and day of the Gregorian calendar, `days` after 1970-01-01.
///
/// Counts in 400-year cycles of 146 097 days, with years that begin in March so that the leap day
/// comes last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (cycle, day_of_cycle) = (days / 146_097, days % 146_097);
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524
        - day_of_cycle / 146_096)
        / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = cycle * 400 + year_of_cycle + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use primitives::address;

    use super::*;

    #[test]
    fn names_a_file_as_geth_does() {
        let created = UNIX_EPOCH + Duration::new(1_606_400_176, 634_178_075);
        assert_eq!(
            file_name(created, address!("06E0266a396460eb52b958110f64181b990ae429")),
            "UTC--2020-11-26T14-16-16.634178075Z--06e0266a396460eb52b958110f64181b990ae429"
        );
    }

    #[test]
    fn knows_leap_days_and_the_ends_of_years() {
        let check = |days, expect| assert_eq!(date(days), expect);
        check(0, (1970, 1, 1));
        check(364, (1970, 12, 31));
        check(11_016, (2000, 2, 29));
        check(11_017, (2000, 3, 1));
        check(19_782, (2024, 2, 29));
        check(20_453, (2025, 12, 31));
        check(47_540, (2100, 2, 28));
        check(47_541, (2100, 3, 1));
    }
}
