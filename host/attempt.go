package host

import (
	"fmt"
	"slices"

	"github.com/staddle/staddle/types"
)

// Part is what an account was drawn for in an attempt.
type Part uint8

// Parts. No account has two in one attempt (H1.1).
const (
	None Part = iota
	AsHost
	AsEncoder
)

// String is the part's name.
func (p Part) String() string { return [...]string{"none", "host", "encoder", "unknown"}[min(p, 3)] }

// Event is what an Attempt is told. The set is closed.
type Event interface{ event() }

// Seen is the lot's record at the tip; nil when there is none.
type Seen struct{ Now *types.LotRecord }

// Prepared is the outcome of Prepare: 0, or why this account does not want the
// attempt (H7).
type Prepared struct {
	Attempt types.AttemptID
	Policy  Reason
}

// Stored tells a host that it has a whole range.
type Stored struct{ Commitment types.Commitment }

// Arrived tells an encoder that the host has a whole range.
type Arrived struct{ Commitment types.Commitment }

// Lost tells that the work on a range ended without a result.
type Lost struct {
	Attempt types.AttemptID
	Range   uint32
}

// Found tells that there are bytes of the lot here from before, or that the
// bytes are gone.
type Found struct{ Bytes bool }

func (Seen) event()     {}
func (Prepared) event() {}
func (Stored) event()   {}
func (Arrived) event()  {}
func (Lost) event()     {}
func (Found) event()    {}

// Effect is what an Attempt wants done. The set is closed. Accept, Refuse and
// Commit are said again until the chain shows them; the others once.
type Effect interface{ effect() }

// Prepare asks whether the account wants to take part, before anything is
// transferred; a host reserves the room of the whole lot. Answer: Prepared.
type Prepare struct {
	Attempt types.AttemptID
	Part    Part
}

// Accept and Refuse answer the draw on chain (kind 10).
type Accept struct{ Attempt types.AttemptID }

// Refuse is the other answer, with its reason (H7).
type Refuse struct {
	Attempt types.AttemptID
	Policy  Reason
}

// Listen opens the host for the streams of the attempt's encoders.
type Listen struct{ Attempt types.AttemptID }

// Fetch lets the host get a range itself, of an encoding without encoders.
// Answer: Stored or Lost.
type Fetch struct {
	Attempt types.AttemptID
	Range   uint32
}

// Encode lets the encoder make a range and bring it to the host. Answer: Arrived
// or Lost.
type Encode struct {
	Attempt types.AttemptID
	Range   uint32
}

// Commit reports ranges on chain, by kind 6 for a host and 5 for an encoder.
// Done has a bit for each range of this account that is on chain already.
type Commit struct {
	Kind types.Kind
	Done uint64
	List []types.Commitment
}

// End stops all work of an attempt.
type End struct{ Attempt types.AttemptID }

// Drop deletes the bytes of the lot. Answer: Found.
type Drop struct{}

// Forget says that the lot does not concern the account any more.
type Forget struct{}

func (Prepare) effect() {}
func (Accept) effect()  {}
func (Refuse) effect()  {}
func (Listen) effect()  {}
func (Fetch) effect()   {}
func (Encode) effect()  {}
func (Commit) effect()  {}
func (End) effect()     {}
func (Drop) effect()    {}
func (Forget) effect()  {}

// Grace is for how many blocks bytes that nobody wants are kept: a
// reorganisation may want them back.
const Grace types.Height = 32

// job is the state of the work on one range.
type job uint8

const (
	idle job = iota
	busy
	done
)

// Attempt is the machine of one lot for one account: it follows the lot from
// attempt to attempt. It has no clock but the height that it is told.
type Attempt struct {
	me types.Account

	now    *types.LotRecord
	id     types.AttemptID // that the account takes part in; zero: none
	part   Part
	known  bool   // Prepared came
	policy Reason // of Prepared
	open   bool   // Listen was said
	jobs   []job
	words  []types.Commitment // of the ranges that are done

	bytes  bool         // of the lot are here
	since  types.Height // since when the lot does not concern the account
	unused bool         // since is set
}

// NewAttempt is the machine of a lot that was not looked at yet.
func NewAttempt(me types.Account) *Attempt { return &Attempt{me: me} }

// Part is what the account does in the running attempt.
func (a *Attempt) Part() Part { return a.part }

// Quiet reports whether nothing is to be done before the lot's record changes.
func (a *Attempt) Quiet() bool { return a.part == None && !a.unused }

// Step takes an event at a height and gives what to do, in order.
func (a *Attempt) Step(height types.Height, e Event) (out []Effect) {
	switch e := e.(type) {
	case Seen:
		out = a.see(e.Now)
	case Prepared:
		if e.Attempt != a.id || a.known {
			return nil
		}
		a.known, a.policy = true, e.Policy
		a.bytes = a.bytes || a.part == AsHost && e.Policy == 0
	case Stored:
		if !a.finish(AsHost, e.Commitment) {
			return nil
		}
	case Arrived:
		if !a.finish(AsEncoder, e.Commitment) {
			return nil
		}
	case Lost:
		if e.Attempt == a.id && int(e.Range) < len(a.jobs) && a.jobs[e.Range] == busy {
			a.jobs[e.Range] = idle // tried again at the next tip
		}
		return nil
	case Found:
		a.bytes = e.Bytes
	}
	return append(append(out, a.work()...), a.tidy(height)...)
}

// finish notes a whole range; false for a report that is late, twice or of
// another attempt.
func (a *Attempt) finish(part Part, c types.Commitment) bool {
	if c.Attempt != a.id || a.part != part || int(c.Range) >= len(a.jobs) || a.jobs[c.Range] == done {
		return false
	}
	a.jobs[c.Range], a.words[c.Range] = done, c
	return true
}

// partIn is what an account does in a running attempt.
func partIn(l *types.LotRecord, me types.Account) Part {
	switch {
	case l == nil || l.Status != types.LotDrawn && l.Status != types.LotCommitted:
		return None
	case l.Host == me:
		return AsHost
	case slices.Contains(l.Encoders, me):
		return AsEncoder
	}
	return None
}

// see takes the lot's record. Another attempt, or none, ends the one before.
func (a *Attempt) see(now *types.LotRecord) (out []Effect) {
	a.now = now
	id, part := types.AttemptID{}, partIn(now, a.me)
	if part != None {
		id = now.Attempt
	}
	if id == a.id {
		return nil
	}
	if a.part != None {
		out = append(out, End{a.id})
	}
	a.id, a.part, a.known, a.policy, a.open = id, part, false, 0, false
	a.jobs, a.words = nil, nil
	if part == None {
		return out
	}
	a.jobs, a.words = make([]job, now.Count), make([]types.Commitment, now.Count)
	return append(out, Prepare{id, part})
}

// work is what the present record and the present jobs ask for.
func (a *Attempt) work() (out []Effect) {
	if a.part == None || !a.known {
		return nil
	}
	in := a.accepted()
	if a.policy != 0 {
		if in || a.now.Status != types.LotDrawn {
			return nil // too late to refuse: the attempt runs out of time
		}
		return []Effect{Refuse{a.id, a.policy}}
	}
	if a.part == AsHost && len(a.now.Encoders) > 0 && !a.open {
		a.open = true
		out = append(out, Listen{a.id})
	}
	if a.now.Status != types.LotDrawn {
		return out
	}
	if !in {
		return append(out, Accept{a.id})
	}
	return append(append(out, a.start()...), a.report()...)
}

// accepted reports whether the chain has the account's word.
func (a *Attempt) accepted() bool {
	if a.part == AsHost {
		return a.now.HostIn
	}
	i := slices.Index(a.now.Encoders, a.me)
	return i >= 0 && a.now.Accepted>>i&1 == 1
}

// start begins work on ranges: a host's on those without an encoder, an
// encoder's once the host is in.
func (a *Attempt) start() (out []Effect) {
	for r := range uint32(len(a.jobs)) {
		if a.jobs[r] != idle {
			continue
		}
		switch {
		case a.part == AsHost && len(a.now.Encoders) == 0 && a.now.Hosted>>r&1 == 0:
			out = append(out, Fetch{a.id, r})
		case a.part == AsEncoder && a.now.HostIn && a.now.Owes(a.me, r):
			out = append(out, Encode{a.id, r})
		default:
			continue
		}
		a.jobs[r] = busy
	}
	return out
}

// report commits what is done and not on chain.
func (a *Attempt) report() []Effect {
	c := Commit{Kind: types.KindHosted, Done: a.now.Hosted}
	if a.part == AsEncoder {
		c.Kind, c.Done = types.KindEncoded, a.mine()&a.now.Encoded
	}
	for r := range uint32(len(a.jobs)) {
		taken := int(r) >= len(a.now.Encoders) || a.now.Accepted>>r&1 == 1
		if a.jobs[r] == done && c.Done>>r&1 == 0 && taken {
			c.List = append(c.List, a.words[r])
		}
	}
	if len(c.List) == 0 {
		return nil
	}
	return []Effect{c}
}

// mine has a bit for each range that the account encodes.
func (a *Attempt) mine() (bits uint64) {
	for i, e := range a.now.Encoders {
		if e == a.me {
			bits |= 1 << i
		}
	}
	return bits
}

// tidy lets go of a lot that has not concerned the account for the grace.
func (a *Attempt) tidy(height types.Height) []Effect {
	if a.part != None || a.now != nil && a.now.Keeper() == a.me {
		a.unused = false
		return nil
	}
	if !a.unused {
		a.unused, a.since = true, height
	}
	if height < a.since+Grace {
		return nil
	}
	if a.bytes {
		return []Effect{Drop{}}
	}
	return []Effect{Forget{}}
}

// String forms of the effects, for traces.

// String names the effect.
func (e Prepare) String() string { return fmt.Sprintf("prepare %s as %s", e.Attempt.Short(), e.Part) }

// String names the effect.
func (e Accept) String() string { return "accept " + e.Attempt.Short() }

// String names the effect.
func (e Refuse) String() string { return fmt.Sprintf("refuse %s: %s", e.Attempt.Short(), e.Policy) }

// String names the effect.
func (e Listen) String() string { return "listen " + e.Attempt.Short() }

// String names the effect.
func (e Fetch) String() string { return fmt.Sprintf("fetch %s/%d", e.Attempt.Short(), e.Range) }

// String names the effect.
func (e Encode) String() string { return fmt.Sprintf("encode %s/%d", e.Attempt.Short(), e.Range) }

// String names the effect.
func (e Commit) String() string {
	s := fmt.Sprintf("commit %s done %b:", e.Kind, e.Done)
	for _, c := range e.List {
		s += fmt.Sprintf(" %d", c.Range)
	}
	return s
}

// String names the effect.
func (e End) String() string { return "end " + e.Attempt.Short() }

// String names the effect.
func (Drop) String() string { return "drop" }

// String names the effect.
func (Forget) String() string { return "forget" }
