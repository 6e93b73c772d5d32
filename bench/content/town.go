package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/staddle/staddle/api"

	"github.com/staddle/staddle/bench/ours"
	"github.com/staddle/staddle/bench/proc"
	"github.com/staddle/staddle/bench/shim"
	"github.com/staddle/staddle/bench/table"
)

// behind adds readers at the far end of a line.
func (t *town) behind(line shim.Line, names ...string) error {
	for _, name := range names {
		d, err := t.AddBehind(name, line)
		if err != nil {
			return err
		}
		t.readers = append(t.readers, d)
	}
	return nil
}

// numbered makes names.
func numbered(name string, count int) (out []string) {
	for i := range count {
		out = append(out, fmt.Sprintf("%s%d", name, i+1))
	}
	return out
}

// unless gives lines, or one that says what is missing.
func unless(err error, line table.Line) ([]table.Line, error) {
	if !errors.Is(err, shim.ErrPermission) {
		return nil, err
	}
	line.End, line.Note = table.Skipped, err.Error()
	return []table.Line{line}, nil
}

// fourPeers fetches from four hosts of plain replicas, each behind a line of its
// own; the publisher is gone.
func (b *bench) fourPeers() (_ []table.Line, err error) {
	const peers, rate = 4, 5_000_000
	size := b.sizes.four
	line := table.Line{Name: fmt.Sprintf("get %s from %d peers of 5 MB/s", mb(size), peers), Unit: mbs, Bar: atLeast(18)}
	t := &town{Net: ours.New(b.ctx, b.staddle, b.dir)}
	defer func() { err = errors.Join(err, t.Close()) }()
	hosts, err := t.hosted(peers, 2)
	if err != nil {
		return nil, err
	}
	if err := t.behind(shim.Line{Rate: rate}, numbered("reader", b.runs)...); err != nil {
		return unless(err, line)
	}
	if err := t.serve(hosts, api.HostEnableRequest{SpaceGiB: 8}); err != nil {
		return nil, err
	}
	folder, err := b.film(size)
	if err != nil {
		return nil, err
	}
	if t.ref, _, err = t.Put(t.from, folder, kept(peers, "plain")...); err != nil {
		return nil, err
	}
	if err := t.leave(hosts); err != nil {
		return nil, err
	}
	u, err := b.duel(b.get(t, size))
	if err != nil {
		return nil, err
	}
	line.Ours = side("staddle", speed(size), u[0])
	line.Note = "the four lines carry 20 MB/s in all"
	return []table.Line{line}, nil
}

// kept asks hosts to keep copies for as long as any run may take: 300 epochs of
// eight seconds.
func kept(copies int, encoding string) []string {
	return []string{"--copies", fmt.Sprint(copies), "--encoding", encoding, "--epochs", "300", "--price-room", "1", "--wait"}
}

// hosted starts a publisher, hosts and validators.
func (t *town) hosted(hosts, validators int) ([]*ours.Node, error) {
	nodes, err := t.Add("publisher")
	if err != nil {
		return nil, err
	}
	t.from = nodes[0]
	t.ends = nodes
	if t.validators, err = t.Add(numbered("validator", validators)...); err != nil {
		return nil, err
	}
	return t.Add(numbered("host", hosts)...)
}

// serve founds the community and lets hosts offer what they have.
func (t *town) serve(hosts []*ours.Node, offers ...api.HostEnableRequest) error {
	if err := t.Found(t.validators...); err != nil {
		return err
	}
	var space, encode int
	for i, h := range hosts {
		q := offers[min(i, len(offers)-1)]
		if err := t.Call(h, api.CallHostEnable, q, nil); err != nil {
			return err
		}
		if q.SpaceGiB > 0 {
			space++
		}
		if q.Encode {
			encode++
		}
	}
	return t.Await("hosts and validators are registered", 180*time.Second, func() (bool, error) {
		var c api.Community
		err := t.Call(t.from, api.CallCommunityInfo, api.None{}, &c)
		return c.Hosts == space && c.Encoders == encode && c.Validators == len(t.validators), err
	})
}

// leave stops the publisher; hosts send in its place.
func (t *town) leave(hosts []*ours.Node) error {
	if err := t.Follow(2); err != nil {
		return err
	}
	t.ends = hosts
	return t.Drop(t.from)
}

// delay fetches over a line of 50 MB/s, without and with a round trip of 80 ms.
func (b *bench) delay() (_ []table.Line, err error) {
	const rate, way = 50_000_000, 40 * time.Millisecond
	size := b.sizes.file
	line := table.Line{Name: "get " + mb(size) + " at 50 MB/s and 80 ms", Unit: mbs, Bar: ratioAtLeast(0.6)}
	t := &town{Net: ours.New(b.ctx, b.staddle, b.dir)}
	defer func() { err = errors.Join(err, t.Close()) }()
	if _, err := t.hosted(0, 0); err != nil {
		return nil, err
	}
	if err := t.behind(shim.Line{Rate: rate, Delay: way}, numbered("far", b.runs)...); err != nil {
		return unless(err, line)
	}
	if err := t.behind(shim.Line{Rate: rate}, numbered("near", b.runs)...); err != nil {
		return nil, err
	}
	if err := t.Found(); err != nil {
		return nil, err
	}
	folder, err := b.film(size)
	if err != nil {
		return nil, err
	}
	if t.ref, _, err = t.Put(t.from, folder); err != nil {
		return nil, err
	}
	if err := t.Follow(2); err != nil {
		return nil, err
	}
	get := b.get(t, size)
	u, err := b.duel(get, func(run int) (proc.Use, error) { return get(b.runs + run) })
	if err != nil {
		return nil, err
	}
	line.Ours, line.Peer = side("staddle", speed(size), u[0]), side("0 ms", speed(size), u[1])
	return []table.Line{line}, nil
}

// memory puts and gets a large dataset by daemons.
func (b *bench) memory() (_ []table.Line, err error) {
	size := b.sizes.large
	folder, err := b.film(size)
	if err != nil {
		return nil, err
	}
	t := &town{Net: ours.New(b.ctx, b.staddle, b.dir)}
	defer func() { err = errors.Join(err, t.Close()) }()
	nodes, err := t.Add("publisher", "reader1")
	if err != nil {
		return nil, err
	}
	t.from, t.ends, t.readers = nodes[0], nodes[:1], nodes[1:]
	if err := t.Found(); err != nil {
		return nil, err
	}
	var put proc.Use
	if t.ref, put, err = t.Put(t.from, folder); err != nil {
		return nil, err
	}
	lines := []table.Line{peak("memory: put "+mb(size), size, put, put.RSS)}
	if err := t.Follow(2); err != nil {
		return lines, err
	}
	settle()
	got, err := again(b.get(t, size), t.readers[0], t.from)
	if err != nil {
		return lines, err
	}
	for i, d := range []*ours.Node{t.readers[0], t.from} {
		line := peak("memory: get "+mb(size)+", "+d.Name, size, got.use, got.peaks[i])
		if got.tries > 1 {
			line.Note += fmt.Sprintf("; the get was given %d times", got.tries)
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// attempts is what a job cost that had to be given again.
type attempts struct {
	use   proc.Use
	tries int
	peaks []int64 // of each node
}

// again gives a get until it ends well, at most ten times: what is free is used
// up on the way, and a lock of coins may miss its epoch. What came stays.
func again(get func(int) (proc.Use, error), nodes ...*ours.Node) (a attempts, err error) {
	a.peaks = make([]int64, len(nodes))
	for a.tries < 10 {
		a.tries++
		u, failed := get(0)
		a.use.Wall, a.use.CPU = a.use.Wall+u.Wall, a.use.CPU+u.CPU
		for i, d := range nodes {
			most, err := d.Peak()
			if err != nil {
				return a, err
			}
			a.peaks[i] = max(a.peaks[i], most)
		}
		if err = failed; err == nil {
			break
		}
	}
	return a, err
}

// peak is a line about the most memory of one process.
func peak(name string, size int64, u proc.Use, most int64) table.Line {
	of := func(proc.Use) float64 { return float64(most) / 1e6 }
	return table.Line{
		Name: name, Unit: "MB", Bar: atMost(150), Ours: side("staddle", of, []proc.Use{u}),
		Note: fmt.Sprintf("at %.0f MB/s", speed(size)(u)),
	}
}

// allocated is how much disk the files below a folder use, in bytes.
func allocated(dir string) (sum int64, err error) {
	out, err := proc.Output(du(dir))
	if err != nil {
		return 0, err
	}
	_, err = fmt.Sscan(out, &sum)
	return sum << 10, err
}

// same compares bytes with those of a file.
func same(got []byte, name string, offset int64) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	want := make([]byte, len(got))
	if _, err := f.ReadAt(want, offset); err != nil {
		return err
	}
	if string(got) != string(want) {
		return fmt.Errorf("%d bytes from %d differ from those of %s", len(got), offset, name)
	}
	return nil
}
