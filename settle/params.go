package settle

import (
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"

	"github.com/staddle/staddle/types"
)

// DefaultMinRep is the number of replicas below which a buyer is warned.
const DefaultMinRep = 4

// maxCostBits keeps a price times 2^63 below the limit of t.
const maxCostBits = 192

// Params are the settings of a run. All validators of an epoch use the same;
// only Report, Owner and Shard belong to one process.
type Params struct {
	Beacon        types.Hash // R_E; needed by the reducer of 1S, and by 1J above MaxParties claims
	StorageCost   *big.Int   // wei a replica; needed by the reducer of 2; not negative, below 2^192
	BandwidthCost *big.Int   // wei a unit; same
	LegacyIDs     bool
	Verdicts      bool  // 1J counts only claims that the verdict log allows
	MinRep        uint8 // 0 means DefaultMinRep
	EpochEnd      int64 // Unix seconds; lines stored then or later are rejected; 0: no check

	Owner *types.Address // whose log this is; nil: lines of anybody
	Shard types.Shard    // the zero value takes all keys

	Export *Export   // stage 2 writes the document's row form
	Report io.Writer // receives Feedback lines; nil: none
}

// Names of the parameters, as flags; in the environment they are upper case with
// "STADDLE_" in front and "_" for "-".
const (
	NameBeacon         = "beacon"
	NameStorageCost    = "storagecost"
	NameBandwidthCost  = "bandwidthcost"
	NameLegacyIDs      = "legacy-ids"
	NameVerdicts       = "verdicts"
	NameMinRep         = "minrep"
	NameEpochEnd       = "epochend"
	NameOwner          = "owner"
	NameShard          = "shard"
	NameValidator      = "validator"
	NameEpochTimestamp = "epochtimestamp"
	NameSig            = "sig"
)

// Setting is a parameter as text.
type Setting struct{ Name, Value string }

// EnvName is the environment variable of a parameter: "STADDLE_LEGACY_IDS" for
// "legacy-ids".
func EnvName(name string) string {
	return "STADDLE_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Settings lists what is not at its default, in a fixed order; ParseParams reads
// it back. Report is not among them.
func (p Params) Settings() (list []Setting) {
	add := func(set bool, name, value string) {
		if set {
			list = append(list, Setting{name, value})
		}
	}
	add(!p.Beacon.IsZero(), NameBeacon, p.Beacon.String())
	add(p.StorageCost != nil, NameStorageCost, text(p.StorageCost))
	add(p.BandwidthCost != nil, NameBandwidthCost, text(p.BandwidthCost))
	add(p.LegacyIDs, NameLegacyIDs, "true")
	add(p.Verdicts, NameVerdicts, "true")
	add(p.MinRep != 0, NameMinRep, strconv.Itoa(int(p.MinRep)))
	add(p.EpochEnd != 0, NameEpochEnd, strconv.FormatInt(p.EpochEnd, 10))
	if p.Owner != nil {
		add(true, NameOwner, p.Owner.String())
	}
	add(p.Shard != types.Shard{}, NameShard, p.Shard.String())
	if p.Export != nil {
		add(true, NameValidator, p.Export.ValidatorID)
		add(true, NameEpochTimestamp, strconv.FormatInt(p.Export.EpochTimestamp, 10))
		add(p.Export.Sig != "", NameSig, p.Export.Sig)
	}
	return list
}

func text(n *big.Int) string {
	if n == nil {
		return ""
	}
	return n.String()
}

// ParseParams reads the parameters that lookup knows; it gives "" for the
// others, which stay at their defaults. The error names the parameter.
func ParseParams(lookup func(name string) string) (Params, error) {
	r := settingReader{lookup: lookup}
	p := Params{
		StorageCost:   r.wei(NameStorageCost),
		BandwidthCost: r.wei(NameBandwidthCost),
		LegacyIDs:     r.flag(NameLegacyIDs),
		Verdicts:      r.flag(NameVerdicts),
		MinRep:        uint8(r.integer(NameMinRep, MaxRep)),
		EpochEnd:      r.integer(NameEpochEnd, MaxDate),
	}
	r.read(NameBeacon, func(v string) (err error) {
		p.Beacon, err = types.ParseHash(v)
		return err
	})
	r.read(NameOwner, func(v string) error {
		a, err := types.ParseAddress(v)
		p.Owner = &a
		return err
	})
	r.read(NameShard, func(v string) (err error) {
		p.Shard, err = types.ParseShard(v)
		return err
	})
	r.read(NameValidator, func(v string) error {
		p.Export = &Export{ValidatorID: v, EpochTimestamp: r.integer(NameEpochTimestamp, maxStamp-1), Sig: lookup(NameSig)}
		return nil
	})
	if r.err != nil {
		return Params{}, r.err
	}
	return p, p.check()
}

type settingReader struct {
	lookup func(string) string
	err    error
}

func (r *settingReader) read(name string, set func(string) error) {
	v := r.lookup(name)
	if v == "" {
		return
	}
	if err := set(v); err != nil && r.err == nil {
		r.err = fmt.Errorf("parameter %s: %w", name, err)
	}
}

func (r *settingReader) wei(name string) (n *big.Int) {
	r.read(name, func(v string) error {
		var ok bool
		if len(v) <= 80 {
			n, ok = new(big.Int).SetString(v, 10)
		}
		if !ok {
			n = nil
			return fmt.Errorf("%.90q is not a decimal number of wei", v)
		}
		return nil
	})
	return n
}

func (r *settingReader) flag(name string) (on bool) {
	r.read(name, func(v string) (err error) {
		on, err = strconv.ParseBool(v)
		return err
	})
	return on
}

func (r *settingReader) integer(name string, limit int64) (n int64) {
	r.read(name, func(v string) (err error) {
		n, err = strconv.ParseInt(v, 10, 64)
		if err == nil && (n < 0 || n > limit) {
			return fmt.Errorf("%d is not between 0 and %d", n, limit)
		}
		return err
	})
	return n
}

func (p *Params) check() error {
	for _, cost := range []*big.Int{p.StorageCost, p.BandwidthCost} {
		if cost != nil && (cost.Sign() < 0 || cost.BitLen() > maxCostBits) {
			return fmt.Errorf("price %s is not between 0 and 2^%d wei", cost, maxCostBits)
		}
	}
	if p.Export != nil && !p.Export.check() {
		return fmt.Errorf("validator %.40q, sig %.40q: want printable ASCII without quotes", p.Export.ValidatorID, p.Export.Sig)
	}
	return nil
}

func (p *Params) grammar() Grammar { return Grammar{LegacyIDs: p.LegacyIDs} }

// minRep is the number of farmers below which a chunk with that rep is
// under-replicated (ST11).
func (p *Params) minRep(rep int) int {
	m := int(p.MinRep)
	if m == 0 {
		m = DefaultMinRep
	}
	return min(m, rep)
}
