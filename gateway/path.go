package gateway

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/types"
)

// ErrPath marks a request target that is none of ours in its one form.
var ErrPath = errors.New("no such endpoint")

// maxTarget is longer than any target of ours.
const maxTarget = 1024

// endpoint is what a target asks for.
type endpoint uint8

const (
	getLog        endpoint = iota // /farmerlog, /buyerlog, /bandwidthlog
	getHeaders                    // /headers
	getExceptions                 // /exceptions
	getSmash                      // /smash
	tell                          // feedback
)

// target is a parsed request target; which fields count depends on the endpoint.
type target struct {
	endpoint endpoint
	role     types.LogRole
	seconds  uint64 // EpochUnixTimestamp (T1)
	newest   bool   // no epoch was named
	shard    types.Shard
	have     *types.Hash // root that the caller holds already

	chunk     types.Hash
	challenge types.Hash
	notice    *lines.Notice // with its validator; the epoch is in seconds
}

var logNames = map[string]types.LogRole{
	"farmerlog": types.LogFarmer, "buyerlog": types.LogBuyer, "bandwidthlog": types.LogBandwidth,
}

// parseTarget reads path and query as they stand in the request line: no
// escapes, no dots, no second spelling. Error: ErrPath.
func parseTarget(raw string) (*target, error) {
	if len(raw) > maxTarget || strings.Contains(raw, "%") {
		return nil, fmt.Errorf("%w: %.60q", ErrPath, raw)
	}
	path, query, asked := strings.Cut(raw, "?")
	name, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	t := new(target)
	var err error
	switch role, isLog := logNames[name]; {
	case isLog:
		err = t.log(role, rest, query)
	case name == "headers":
		t.endpoint = getHeaders
		err = errors.Join(t.epoch(rest), empty(query))
	case name == "exceptions":
		t.endpoint = getExceptions
		err = errors.Join(t.epoch(rest), empty(query))
	case name == "smash":
		err = t.smash(rest, query)
	default:
		err = t.feedback(path, query)
	}
	if err == nil && (t.String() != raw || asked != strings.Contains(t.String(), "?")) {
		err = errors.New("not in its one form")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %.60q: %w", ErrPath, raw, err)
	}
	return t, nil
}

func (t *target) log(role types.LogRole, rest, query string) error {
	t.endpoint, t.role = getLog, role
	if root, ok := strings.CutPrefix(query, "have="); ok {
		h, err := types.ParseHash(root)
		if err != nil {
			return err
		}
		t.have = &h
	} else if query != "" {
		return errors.New("unknown query")
	}
	if rest == "" && role == types.LogBandwidth {
		t.newest = true
		return nil
	}
	epoch, shard, sharded := strings.Cut(rest, "/")
	if err := t.epoch(epoch); err != nil || !sharded {
		return err
	}
	var err error
	if t.shard, err = types.ParseShard(shard); err == nil && t.shard == (types.Shard{}) {
		err = errors.New("shard of everything is left out")
	}
	return err
}

func (t *target) epoch(text string) (err error) {
	t.seconds, err = seconds(text)
	return err
}

func seconds(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 || n > 1<<40 {
		return 0, fmt.Errorf("epoch %.30q is no Unix time in seconds", text)
	}
	return n, nil
}

func empty(query string) error {
	if query != "" {
		return errors.New("unknown query")
	}
	return nil
}

func (t *target) smash(rest, query string) (err error) {
	t.endpoint = getSmash
	challenge, ok := strings.CutPrefix(query, "challenge=")
	if !ok {
		return errors.New("no challenge")
	}
	if t.chunk, err = types.ParseHash(rest); err != nil {
		return err
	}
	t.challenge, err = types.ParseHash(challenge)
	return err
}

// feedback reads the notice and, from the query, of which epoch and by whom it is.
func (t *target) feedback(path, query string) (err error) {
	t.endpoint = tell
	if t.notice, err = lines.ParseNotice(path); err != nil {
		return err
	}
	epoch, validator, ok := strings.Cut(strings.TrimPrefix(query, "epoch="), "&validator=")
	if !ok {
		return errors.New("no epoch and validator")
	}
	if err := t.epoch(epoch); err != nil {
		return err
	}
	t.notice.Validator, err = types.ParseAccount(validator)
	return err
}

// String is the target in its one form.
func (t *target) String() string {
	switch t.endpoint {
	case getHeaders:
		return fmt.Sprintf("/headers/%d", t.seconds)
	case getExceptions:
		return fmt.Sprintf("/exceptions/%d", t.seconds)
	case getSmash:
		return fmt.Sprintf("/smash/%s?challenge=%s", t.chunk, t.challenge)
	case tell:
		return fmt.Sprintf("%s?epoch=%d&validator=%s", t.notice.Path(), t.seconds, t.notice.Validator)
	}
	out := "/" + t.role.String() + "log"
	if !t.newest {
		out += "/" + strconv.FormatUint(t.seconds, 10)
	}
	if t.shard != (types.Shard{}) {
		out += "/" + t.shard.String()
	}
	if t.have != nil {
		out += "?have=" + t.have.String()
	}
	return out
}
