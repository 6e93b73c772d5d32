package types

// Grant adds matured power of a month and forgets months that fell out of the
// year. Months never run backwards: an older one than the newest kept enters
// its own place, or is lost when it is out of the year.
func (a *AccountRecord) Grant(month, milli uint64) {
	for a.Month < month {
		steps := month - a.Month
		if steps >= Months {
			a.Power, a.Month = [Months]uint64{}, month
			break
		}
		copy(a.Power[1:], a.Power[:Months-1])
		a.Power[0] = 0
		a.Month++
	}
	if back := a.Month - month; back < Months {
		a.Power[back] += milli
	}
}
