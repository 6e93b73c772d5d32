package gateway

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/staddle/staddle/internal/chaintest"
	"github.com/staddle/staddle/lines"
	"github.com/staddle/staddle/replica"
	"github.com/staddle/staddle/types"
)

// ways are the two roads to the same handlers.
func (s *town) ways() map[string]func(int) Do {
	return map[string]func(int) Do{"https": s.as, "stream": s.overStream}
}

// ST4: logs and SMASH answers go to the epoch's validators and to the owner.
func TestST4(t *testing.T) {
	s := newTown(t, nil)
	piece := []byte("a piece")
	chunk := types.Digest(types.RawCID(piece))
	s.pieces[chunk] = piece
	open := []string{
		fmt.Sprintf("/farmerlog/%d", s.seconds), fmt.Sprintf("/buyerlog/%d", s.seconds), "/bandwidthlog",
		fmt.Sprintf("/headers/%d", s.seconds), fmt.Sprintf("/smash/%s?challenge=%s", chunk, hash64),
	}
	for name, as := range s.ways() {
		t.Run(name, func(t *testing.T) {
			for _, target := range open {
				for who, want := range map[int]int{owner: 200, validator: 200, second: 200, poor: 403} {
					if have := call(t, as(who), Call{Target: target}); have.code != want {
						t.Errorf("member %d, %s: %d %s, want %d", who, target, have.code, have.body, want)
					}
				}
			}
			for _, who := range []int{owner, validator, poor} {
				for _, target := range []string{fmt.Sprintf("/farmerlog/%d", s.seconds+1_000_000), fmt.Sprintf("/headers/%d", s.seconds-1_000_000)} {
					if have := call(t, as(who), Call{Target: target}); have.code != 404 {
						t.Errorf("member %d, unknown epoch: %d %s", who, have.code, have.body)
					}
				}
			}
			if have := call(t, as(validator), Call{Target: fmt.Sprintf("/farmerlog/%d", s.time(0))}); have.code != 404 {
				t.Errorf("epoch without logs: %d %s", have.code, have.body)
			}
		})
	}
	if r, err := s.as(host)(t.Context(), Call{Target: open[0]}); err == nil {
		t.Fatalf("a host that is no validator came in: %d", r.StatusCode)
	}
	if have := call(t, s.overStream(host), Call{Target: open[0]}); have.code != 403 {
		t.Fatalf("a host that is no validator: %d %s", have.code, have.body)
	}
}

// A validator that registers another device is known by that one only (K2).
func TestDeviceMoves(t *testing.T) {
	s := newTown(t, nil)
	target := Call{Target: "/bandwidthlog"}
	if have := call(t, s.as(validator), target); have.code != 200 {
		t.Fatalf("%d %s", have.code, have.body)
	}
	s.Do(validator, types.KindRegister, &types.Register{
		Device: device(77).ID(), Roles: types.RoleValidator, TargetStorage: types.Wei(0), TargetBandwidth: types.Wei(0),
	})
	if have := call(t, s.as(77), target); have.code != 200 {
		t.Fatalf("new device: %d %s", have.code, have.body)
	}
	if _, err := s.as(validator)(t.Context(), target); err == nil {
		t.Fatal("the old device came in")
	}
}

func TestLogs(t *testing.T) {
	s := newTown(t, nil)
	for name, as := range s.ways() {
		t.Run(name, func(t *testing.T) {
			do := as(validator)
			for role, text := range s.logs.text {
				target := fmt.Sprintf("/%slog/%d", role, s.seconds)
				h := s.logs.headers.Find(role)
				whole := call(t, do, Call{Target: target})
				if whole.code != 200 || whole.body != string(text) || whole.head.Get(Header) != hex.EncodeToString(types.Marshal(h)) {
					t.Fatalf("%s: %d, %d bytes, header %s", target, whole.code, len(whole.body), whole.head.Get(Header))
				}
				if have := call(t, do, Call{Method: "HEAD", Target: target}); have.code != 200 || have.body != "" || have.head.Get("Content-Length") != fmt.Sprint(len(text)) {
					t.Fatalf("HEAD %s: %+v", target, have)
				}
				part := call(t, do, Call{Target: target, Header: http.Header{"Range": {"bytes=1000-4999"}, "Accept-Encoding": {"gzip"}}})
				if part.code != 206 || part.body != string(text[1000:5000]) {
					t.Fatalf("range of %s: %d, %d bytes", target, part.code, len(part.body))
				}
				if have := call(t, do, Call{Target: target, Header: http.Header{"Range": {"bytes=99999999-"}}}); have.code != 416 {
					t.Fatalf("range behind the end of %s: %d", target, have.code)
				}
				zip := call(t, do, Call{Target: target, Header: http.Header{"Accept-Encoding": {"br, gzip;q=0.5"}}})
				if zip.code != 200 || zip.body != string(text) || zip.head.Get("ETag") == whole.head.Get("ETag") {
					t.Fatalf("gzip of %s: %d, %d bytes", target, zip.code, len(zip.body))
				}
				for _, same := range []Call{
					{Target: target + "?have=" + h.Root.String()},
					{Target: target, Header: http.Header{"If-None-Match": {whole.head.Get("ETag")}}},
				} {
					if have := call(t, do, same); have.code != 304 || have.body != "" {
						t.Fatalf("%s known: %d, %d bytes", target, have.code, len(have.body))
					}
				}
				if have := call(t, do, Call{Target: target + "?have=" + hash64}); have.body != string(text) {
					t.Fatalf("%s with another root: %d, %d bytes", target, have.code, len(have.body))
				}
			}
		})
	}
}

// Shards of a level are the whole log, each line in its own.
func TestShards(t *testing.T) {
	s := newTown(t, nil)
	for role, text := range s.logs.text {
		for _, bits := range []uint8{1, 3, 16} {
			var all []string
			step := uint32(1)
			if bits == 16 {
				step = 1 << 16 // only the ends, below
			}
			for p := uint32(0); p < 1<<bits; p += step {
				all = append(all, s.shard(role, types.Shard{Bits: bits, Prefix: p}))
			}
			if bits < 16 && strings.Join(all, "") != string(text) && role != types.LogBandwidth {
				t.Fatalf("%s log in %d shards: %d bytes of %d", role, len(all), len(strings.Join(all, "")), len(text))
			}
			if n := len(strings.Join(all, "")); bits < 16 && n != len(text) {
				t.Fatalf("%s log in %d shards: %d bytes of %d", role, len(all), n, len(text))
			}
		}
	}
	_, line, err := lineAt(bytes.NewReader(s.logs.text[types.LogFarmer]), 0, 5000, int64(len(s.logs.text[types.LogFarmer])))
	if err != nil {
		t.Fatal(err)
	}
	k, err := key(types.LogFarmer, line)
	if err != nil {
		t.Fatal(err)
	}
	if have := s.shard(types.LogFarmer, types.Shard{Bits: 16, Prefix: k}); have != string(line)+"\n" {
		t.Fatalf("shard of one line: %q", have)
	}
}

// shard asks for a part and checks that each line belongs to it.
func (s *town) shard(role types.LogRole, x types.Shard) string {
	s.t.Helper()
	have := call(s.t, s.as(validator), Call{Target: fmt.Sprintf("/%slog/%d/%s", role, s.seconds, x)})
	if have.code != 200 {
		s.t.Fatalf("shard %s: %d %s", x, have.code, have.body)
	}
	for line := range strings.Lines(have.body) {
		k, err := key(role, []byte(strings.TrimSuffix(line, "\n")))
		if err != nil || !x.Holds(byte(k>>8), byte(k)) {
			s.t.Fatalf("line %s in shard %s: %v", line, x, err)
		}
	}
	return have.body
}

// The reader's side checks what it is given.
func TestReader(t *testing.T) {
	s := newTown(t, nil)
	x, err := lines.NewExceptions([]lines.Exception{{Role: types.LogBandwidth, Op: lines.OpReceipt, Line: []byte("receipt")}})
	if err != nil {
		t.Fatal(err)
	}
	s.logs.block = x.Block().Bytes
	root, err := s.logs.headers.Root()
	if err != nil {
		t.Fatal(err)
	}
	claim := &types.LogCommitment{Epoch: s.e, Root: root, Headers: 3, Exceptions: x.Block().CID}
	for name, as := range s.ways() {
		t.Run(name, func(t *testing.T) {
			do := as(second)
			head, err := do.Headers(t.Context(), s.seconds, claim)
			if err != nil {
				t.Fatal(err)
			}
			n := uint64(0)
			h := head.Find(types.LogBuyer)
			if err := do.Log(t.Context(), s.seconds, h, func([]byte) error { n++; return nil }); err != nil || n != h.Lines {
				t.Fatalf("%d lines of %d: %v", n, h.Lines, err)
			}
			if b, err := do.Exceptions(t.Context(), s.seconds, claim); err != nil || !bytes.Equal(b, s.logs.block) {
				t.Fatalf("exceptions %x: %v", b, err)
			}
			other := *claim
			other.Root = types.H("staddle/test/root")
			if _, err := do.Headers(t.Context(), s.seconds, &other); !errors.Is(err, lines.ErrLog) {
				t.Fatalf("error %v", err)
			}
			other.Exceptions = types.RawCID([]byte("x"))
			if _, err := do.Exceptions(t.Context(), s.seconds, &other); !errors.Is(err, lines.ErrException) {
				t.Fatalf("error %v", err)
			}
			wrong := *h
			wrong.Root = other.Root
			if err := do.Log(t.Context(), s.seconds, &wrong, func([]byte) error { return nil }); !errors.Is(err, lines.ErrLog) {
				t.Fatalf("error %v", err)
			}
			var refused *RefusedError
			if _, err := as(poor).Headers(t.Context(), s.seconds, claim); !errors.As(err, &refused) || refused.Code != 403 {
				t.Fatalf("error %v", err)
			}
		})
	}
}

func TestSmash(t *testing.T) {
	s := newTown(t, nil)
	piece := bytes.Repeat([]byte("piece"), 1000)
	chunk := types.Digest(types.RawCID(piece))
	bad := types.H("staddle/test/bad")
	s.pieces[chunk], s.pieces[bad] = piece, piece
	secret := replica.NewSmashSeed([]byte("master"), chunk, 3)
	want, err := replica.ASH(piece, secret)
	if err != nil {
		t.Fatal(err)
	}
	for name, as := range s.ways() {
		t.Run(name, func(t *testing.T) {
			have, err := as(validator).Smash(t.Context(), chunk, types.Hash(secret))
			if err != nil || have != want {
				t.Fatalf("answer %s, want %s: %v", have, want, err)
			}
			for d, code := range map[types.Hash]int{types.H("staddle/test/none"): 404, bad: 500} {
				var refused *RefusedError
				if _, err := as(validator).Smash(t.Context(), d, types.Hash(secret)); !errors.As(err, &refused) || refused.Code != code {
					t.Fatalf("error %v, want %d", err, code)
				}
			}
		})
	}
}

func TestMethodsAndPaths(t *testing.T) {
	s := newTown(t, nil)
	for name, as := range s.ways() {
		t.Run(name, func(t *testing.T) {
			do := as(validator)
			for _, raw := range hostile {
				if !strings.HasPrefix(raw, "/") || strings.ContainsAny(raw, " \x00") {
					continue // refused by the client
				}
				if have := call(t, do, Call{Target: raw}); have.code != 404 {
					t.Errorf("%q: %d", raw, have.code)
				}
			}
			for method, code := range map[string]int{"POST": 405, "PUT": 405, "DELETE": 405, "GET": 200} {
				if have := call(t, do, Call{Method: method, Target: "/bandwidthlog"}); have.code != code {
					t.Errorf("%s: %d, want %d", method, have.code, code)
				}
			}
		})
	}
	for _, raw := range []string{"", "bandwidthlog", "/a b", "/a\r\nX: y"} {
		if _, err := s.as(validator)(t.Context(), Call{Target: raw}); !errors.Is(err, ErrPath) {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

// notice is one that a validator signed about the town's epoch.
func (s *town) notice(by int, path string) *lines.Notice {
	s.t.Helper()
	n, err := lines.ParseNotice(path + "/" + strings.Repeat("0", 128))
	if err != nil {
		s.t.Fatal(err)
	}
	n.Node, n.Epoch, n.Validator = chaintest.Account(owner).Address(), s.e, chaintest.Account(by)
	digest := n.Digest(s.Genesis().Chain())
	n.Signature = chaintest.Signer(by).Sign(digest[:])
	return n
}
