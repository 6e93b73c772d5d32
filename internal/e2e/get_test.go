//go:build engine

package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/staddle/staddle/api"
)

// TestPrice: what a get may cost is said, and it is refused when that is too much.
func TestPrice(t *testing.T) {
	a := start(t, "a", "--upload", "4194304") // an eighth of it is free
	b := start(t, "b", "--no-mine")
	c := start(t, "c", "--no-mine", "--spend-per-day", "0.000000001")
	found(a, nil, b, c)
	films := folder(t, 6<<20, 3)
	ref := call[api.PutResult](a, api.CallPut, api.PutRequest{Path: films, Visibility: "public"}).Ref
	for _, p := range []*peer{b, c} {
		await(t, p.name+" sees the dataset", func() bool {
			_, err := try[api.Dataset](p, api.CallStat, api.RefRequest{Ref: ref})
			return err == nil
		})
	}
	to := filepath.Join(t.TempDir(), "got")
	wantText(t, b.exits(9, "get", ref, "-o", to, "--max-price", "0.000000001").stderr,
		"would cost too much", "highest price 0.000000001", "--max-price")
	if _, err := os.Stat(to); err == nil {
		t.Fatal("a refused get left a folder")
	}
	b.exits(1, "get", ref, "-o", to, "--max-price", "much")
	wantText(t, b.does("get", ref, "-o", to, "--max-price", "1000").stderr, "costs between ", " TAU, ", " pieces free")
	sameTree(t, films, to)
	wantText(t, c.exits(9, "get", ref, "-o", to+"c").stderr, "budget of the day is used up: 0.000000001 coins", "--spend-per-day")
}

// perKill is what a kill may cost of bytes that came already.
const perKill = 5 << 20 / 2

// TestKilledGets kills either end of a download at random moments. The same get
// again goes on; little travels twice.
func TestKilledGets(t *testing.T) {
	const size, moments = 384 << 20, 20
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 1))
	a, b := start(t, "a"), start(t, "b", "--no-mine")
	found(a, nil, b)
	dir := filepath.Join(t.TempDir(), "films")
	write(t, filepath.Join(dir, "film.mkv"), noise(size, 6))
	ref := call[api.PutResult](a, api.CallPut, api.PutRequest{Path: dir, Visibility: "public"}).Ref
	await(t, "b sees the dataset", func() bool {
		_, err := try[api.Dataset](b, api.CallStat, api.RefRequest{Ref: ref})
		return err == nil
	})
	to := filepath.Join(t.TempDir(), "got")
	came, kills := int64(0), 0
	for done := false; !done; {
		get := b.command("get", ref, "-o", to, "--progress", "none")
		if err := get.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- get.Wait() }()
		before := sample(b)
		sum := before
		after := 1 + chance.Int64N(2*size/(moments+4)) // bytes, so that the kills fit into a get of any speed
		victim := []*peer{a, b}[chance.IntN(2)]
		for running := true; running; {
			select {
			case err := <-ended:
				running, done = false, err == nil
			case <-time.After(5 * time.Millisecond):
				if kills < moments && sum-before >= after {
					sum = max(sum, sample(b))
					victim.kill()
					done = <-ended == nil // it was quicker
					kills++
					running = false
					victim.up()
					await(t, "b has a again", func() bool { return len(call[api.Status](b, api.CallStatus, api.None{}).Peers) > 0 })
				} else {
					sum = max(sum, sample(b))
				}
			}
		}
		came += sum - before
	}
	sameTree(t, dir, to)
	t.Logf("%d kills, %d bytes came for %d: %.2f %% twice", kills, came, size, float64(came-size)*100/size)
	// What was received and is not durable is lost: some MiB a kill at any size.
	if lost := came - size; lost > int64(kills)*perKill || kills < moments/2 {
		t.Errorf("%d kills cost %d bytes", kills, lost)
	}
}

// sample is what has come so far; 0 when nobody answers.
func sample(p *peer) (sum int64) {
	st, err := try[api.Status](p, api.CallStatus, api.None{})
	if err != nil {
		return 0
	}
	for _, other := range st.Peers {
		sum += int64(other.Received)
	}
	return sum
}
