package archive

import "fmt"

// Times that RFC 3339 can write: years 1 to 9999, in Unix seconds.
const (
	minTime = -62135596800
	maxTime = 253402300799

	secondsADay = 86400
	daysAnEra   = 146097 // 400 Gregorian years
	daysToEpoch = 719468 // from 1 March of year 0 to 1 January 1970
)

// formatDate writes Unix seconds within minTime and maxTime as RFC 3339 in UTC.
// Years begin in March here, so that the leap day comes last.
func formatDate(unix int64) string {
	days, rest := unix/secondsADay, unix%secondsADay
	if rest < 0 {
		days, rest = days-1, rest+secondsADay
	}
	days += daysToEpoch
	era := days / daysAnEra
	if days < 0 {
		era = (days - daysAnEra + 1) / daysAnEra
	}
	d := days - era*daysAnEra
	y := (d - d/1460 + d/36524 - d/146096) / 365
	d -= 365*y + y/4 - y/100
	m := (5*d + 2) / 153
	day, year, month := d-(153*m+2)/5+1, y+era*400, m+3
	if month > 12 {
		year, month = year+1, month-12
	}
	return fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02dZ", year, month, day, rest/3600, rest/60%60, rest%60)
}

// parseDate reads exactly what formatDate writes.
func parseDate(s string) (unix int64, err error) {
	if len(s) != len("0000-00-00T00:00:00Z") {
		return 0, fmt.Errorf("time %q is not like 2026-11-20T08:00:00Z", s)
	}
	year, month, day := digits(s[0:4]), digits(s[5:7]), digits(s[8:10])
	if month <= 2 {
		year, month = year-1, month+12
	}
	era := year / 400
	y := year - era*400
	d := 365*y + y/4 - y/100 + (153*(month-3)+2)/5 + day - 1
	unix = (era*daysAnEra+d-daysToEpoch)*secondsADay + digits(s[11:13])*3600 + digits(s[14:16])*60 + digits(s[17:19])
	if unix < minTime || unix > maxTime || formatDate(unix) != s {
		return 0, fmt.Errorf("time %q is not like 2026-11-20T08:00:00Z", s)
	}
	return unix, nil
}

// digits reads a short decimal number; what is no digit shows when the whole
// date is written again.
func digits(s string) (n int64) {
	for i := 0; i < len(s); i++ {
		n = n*10 + int64(s[i]) - '0'
	}
	return n
}
