package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/staddle/staddle/api"
	"github.com/staddle/staddle/types"
)

// demo is the story that `staddle sim` tells.
type demo struct {
	*simNetwork
	folder     string
	sponsor    *simNode
	hosts      []*simNode
	validators []*simNode
	reader     *simNode

	put    api.PutResult
	invite string
	victim *simNode
	paid   api.Epoch
	equal  bool
	begin  map[string]string // balances after the plan, by node
}

func (d *demo) run() error {
	for _, step := range []struct {
		do func() error
		at func() []target // whom chaos may hit meanwhile
	}{
		{d.makeFolder, nil},
		{d.startNodes, nil},
		{d.startCommunity, nil},
		{d.offer, nil},
		{d.publish, d.atPublish},
		{d.prove, d.atAudit},
		{d.killHost, nil},
		{d.repair, d.atRepair},
		{d.settle, d.atSettlement},
		{d.recompute, nil},
		{d.read, nil}, // see fetch
		{d.returnHost, nil},
		{d.report, nil},
	} {
		if err := d.during(step.do, step.at); err != nil {
			return err
		}
	}
	return nil
}

// makeFolder takes the folder that was named, or makes one of Go source and a
// film that no compressor makes smaller.
func (d *demo) makeFolder() error {
	if d.folder != "" {
		abs, err := filepath.Abs(d.folder)
		d.folder = abs
		return err
	}
	d.folder = filepath.Join(d.dir, "archive")
	src := filepath.Join(goRoot(), "src")
	for _, part := range []string{"archive", "compress", "encoding", "net", "strconv"} {
		if err := copyTree(filepath.Join(src, part), filepath.Join(d.folder, "source", part)); err != nil {
			return fmt.Errorf("copy Go's source for the demo: %w; name a folder with --dir", err)
		}
	}
	film, err := os.Create(filepath.Join(d.folder, "film.bin"))
	if err != nil {
		return err
	}
	defer film.Close()
	return writeFilm(film, 8<<20)
}

func goRoot() string {
	if root := os.Getenv("GOROOT"); root != "" {
		return root
	}
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return runtime.GOROOT() //nolint:staticcheck // the last resort where there is no go command
	}
	return strings.TrimSpace(string(out))
}

// writeFilm writes bytes that look like chance and are the same every time.
func writeFilm(w io.Writer, size int) error {
	key := sha256.Sum256([]byte("staddle demo film"))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return err
	}
	buf := make([]byte, size)
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(buf, buf)
	_, err = w.Write(buf)
	return err
}

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		if !e.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o644)
	})
}

func (d *demo) startNodes() (err error) {
	if d.sponsor, err = d.add("sponsor"); err != nil {
		return err
	}
	for i := range 4 {
		h, err := d.add(fmt.Sprintf("host%d", i+1), "--upload", demoUpload)
		if err != nil {
			return err
		}
		d.hosts = append(d.hosts, h)
	}
	for i := range 4 {
		v, err := d.add(fmt.Sprintf("validator%d", i+1))
		if err != nil {
			return err
		}
		d.validators = append(d.validators, v)
	}
	d.say("nine nodes run as processes: a sponsor, four hosts that also encode, four validators")
	return nil
}

const (
	demoCoins   = "1000000"
	demoDeposit = "10000"
	demoBond    = "2000"
	demoLock    = "10"
	demoEpochs  = 70
	demoRoom    = 1
	demoUpload  = "8388608" // bytes a day: an eighth of it is free, the rest is paid
)

func (d *demo) startCommunity() error {
	q := api.CreateRequest{Name: "TAUT", Symbol: "TAU", Kind: "market", Preset: "sim"}
	for _, n := range d.nodes {
		q.Credits = append(q.Credits, api.Credit{Account: n.account, Coins: demoCoins})
	}
	for _, n := range d.validators {
		q.Deposits = append(q.Deposits, api.Credit{Account: n.account, Coins: demoDeposit})
	}
	c, err := call[api.Community](d.simNetwork, d.sponsor, api.CallCommunityCreate, q)
	if err != nil {
		return err
	}
	inv, err := call[api.InviteResult](d.simNetwork, d.sponsor, api.CallCommunityInvite, api.None{})
	if err != nil {
		return err
	}
	d.invite = inv.Invite
	for _, n := range d.nodes[1:] {
		if _, err := call[api.Community](d.simNetwork, n, api.CallCommunityJoin, api.JoinRequest{Invite: d.invite}); err != nil {
			return err
		}
	}
	d.say("community TAUT, chain %s: %s coins each, validators deposit %s", c.Chain[:8], demoCoins, demoDeposit)
	return d.await("nine nodes follow one chain", 180*time.Second, func() (bool, error) { return d.agree(d.nodes, 4) })
}

// agree reports whether all nodes stand at a height or above, on one fork.
func (d *demo) agree(nodes []*simNode, least uint64) (bool, error) {
	tips := map[uint64]string{}
	for _, n := range nodes {
		c, err := call[api.Community](d.simNetwork, n, api.CallCommunityInfo, api.None{})
		if err != nil {
			return false, err
		}
		if c.Height < least || tips[c.Height] != "" && tips[c.Height] != c.Tip {
			return false, nil
		}
		tips[c.Height] = c.Tip
	}
	return len(tips) <= 2, nil
}

func (d *demo) offer() error {
	for _, n := range d.hosts {
		q := api.HostEnableRequest{SpaceGiB: 8, Encode: true, Bond: demoBond}
		if _, err := call[api.None](d.simNetwork, n, api.CallHostEnable, q); err != nil {
			return err
		}
	}
	err := d.await("hosts and validators are registered", 180*time.Second, func() (bool, error) {
		c, err := call[api.Community](d.simNetwork, d.sponsor, api.CallCommunityInfo, api.None{})
		return c.Hosts == 4 && c.Encoders == 4 && c.Validators == 4, err
	})
	if err == nil {
		d.say("hosts offer 8 GiB each and bond %s TAU as encoders; validators are registered", demoBond)
	}
	return err
}

func (d *demo) publish() error {
	q := api.PutRequest{Path: d.folder, Name: "archive", Visibility: "public", Copies: 3, Lock: demoLock, Epochs: d.epochs(), PriceRoom: demoRoom, Wait: true}
	began := time.Now()
	last := uint64(0)
	watch := api.Watch{
		Note: func(s string) { d.say("%s", s) },
		Progress: func(p api.Progress) {
			if p.Phase == "placing" && p.Done > last {
				last = p.Done
				d.say("kept and attested: %d of %d lots", p.Done, p.Total)
			}
		},
	}
	if err := d.ask(d.sponsor, api.CallPut, q, &d.put, watch); err != nil {
		return err
	}
	for _, w := range d.put.Warnings {
		d.say("left out: %s", safe(w))
	}
	d.say("%s: %d pieces, %d ranges in %d lots, three unique replicas on %s, after %.0f s",
		d.put.Ref[:20], d.put.Pieces, d.put.Ranges, d.put.Lots, d.names(d.put.Hosts), time.Since(began).Seconds())
	d.begin = map[string]string{}
	for _, n := range d.nodes {
		b, err := call[api.BalanceResult](d.simNetwork, n, api.CallBalance, api.None{})
		if err != nil {
			return err
		}
		d.begin[n.name] = b.Balance
	}
	return nil
}

// keepers are the hosts that run and keep something.
func (d *demo) keepers() (map[*simNode]api.HostStatus, error) {
	out := map[*simNode]api.HostStatus{}
	for _, n := range d.hosts {
		if n.gone {
			continue
		}
		st, err := call[api.HostStatus](d.simNetwork, n, api.CallHostStatus, api.None{})
		if err != nil {
			return nil, err
		}
		if len(st.Lots) > 0 {
			out[n] = st
		}
	}
	return out, nil
}

func (d *demo) prove() error {
	var p api.ProveResult
	err := d.await("every host shows what it keeps", 20*time.Second, func() (_ bool, err error) {
		p, err = call[api.ProveResult](d.simNetwork, d.sponsor, api.CallProve, api.ProveRequest{Ref: d.put.Ref, Samples: 30})
		return p.AllWhole, err
	})
	if err != nil {
		return fmt.Errorf("challenge: %+v: %w", p.Hosts, err)
	}
	d.say("the sponsor challenged %d hosts: all whole; one missing 10%% would have been caught with %s%%", len(p.Hosts), p.Sure)
	err = d.await("every keeper has an epoch's bundle of proofs on chain", 240*time.Second, func() (bool, error) {
		keepers, err := d.keepers()
		for _, st := range keepers {
			if st.Proved == "none" {
				return false, err
			}
		}
		return len(keepers) > 0, err
	})
	if err == nil {
		d.say("epoch audits: every host showed the drawn leaves, three drawn validators checked them")
	}
	return err
}

func (d *demo) killHost() error {
	keepers, err := d.keepers()
	if err != nil {
		return err
	}
	for _, n := range d.hosts {
		if st, ok := keepers[n]; ok && (d.victim == nil || len(st.Lots) > len(keepers[d.victim].Lots)) {
			d.victim = n
		}
	}
	if d.victim == nil {
		return fmt.Errorf("no host keeps anything: %w", errDemo)
	}
	d.say("kill -9 %s, which keeps %d lots", d.victim.name, len(keepers[d.victim].Lots))
	d.victim.gone = true
	return d.kill(d.victim)
}

// repair waits until no lot of the plan is kept by the dead host.
func (d *demo) repair() error {
	began := time.Now()
	err := d.await("every lot is kept by a living host", 300*time.Second, func() (bool, error) {
		all := 0
		keepers, err := d.keepers()
		for _, st := range keepers {
			for _, l := range st.Lots {
				if l.Status == "active" && l.Host != d.victim.account {
					all++
				}
			}
		}
		return all == d.put.Lots, err
	})
	if err == nil {
		d.say("repaired: %d lots on living hosts again, %.0f s after the kill", d.put.Lots, time.Since(began).Seconds())
	}
	return err
}

// settle waits until an epoch in which something was earned is paid.
func (d *demo) settle() error {
	err := d.await("an epoch with earnings is paid", 300*time.Second, func() (bool, error) {
		newest, err := call[api.Epoch](d.simNetwork, d.sponsor, api.CallEpochShow, api.EpochRequest{})
		if err != nil {
			return false, err
		}
		for e := newest.Epoch; ; e-- {
			ep, err := call[api.Epoch](d.simNetwork, d.sponsor, api.CallEpochShow, api.EpochRequest{Epoch: &e})
			if err != nil {
				return false, err
			}
			if len(ep.Rows) > 0 && strings.Contains(ep.Status, "paid") {
				d.paid = ep
				return true, nil
			}
			if e == 0 {
				return false, nil
			}
		}
	})
	if err != nil {
		return err
	}
	d.say("epoch %d is %s: %d rows, deposits of %s of %s signed", d.paid.Epoch, d.paid.Status, len(d.paid.Rows), d.paid.Signed, d.paid.Deposits)
	return nil
}

// recompute runs the epoch's literal logs through the filters, as the document
// writes it, and compares with what the chain committed to.
func (d *demo) recompute() error {
	r, err := call[api.EpochVerifyResult](d.simNetwork, d.validators[0], api.CallEpochVerify, api.EpochRequest{Epoch: &d.paid.Epoch})
	if err != nil {
		return err
	}
	if !r.Same {
		return fmt.Errorf("epoch %d: computed %s, committed %s: %w", r.Epoch, r.Computed, r.Committed, errDemo)
	}
	ep, err := call[api.Epoch](d.simNetwork, d.validators[0], api.CallEpochShow, api.EpochRequest{Epoch: &d.paid.Epoch})
	if err != nil {
		return err
	}
	rows, err := d.pipe(&ep)
	if err != nil {
		return err
	}
	want := new(bytes.Buffer)
	for _, row := range ep.Rows {
		fmt.Fprintf(want, `{"id":"%s","s":%d,"b":%d,"t":%s}`+"\n", row.Address, row.S, row.B, row.T)
	}
	if !bytes.Equal(rows, want.Bytes()) {
		return fmt.Errorf("the pipe gives\n%s, the chain has\n%s: %w", rows, want, errDemo)
	}
	d.say("the epoch's %d literal log lines through cat | mr | sort give the bytes on chain", r.Lines)
	return nil
}

// pipe is the document's own line over the logs that a validator kept.
func (d *demo) pipe(ep *api.Epoch) ([]byte, error) {
	script := `set -e; cd "$LOGS"; export LC_ALL=C
cat buyerlog-* farmerlog-* verdictlog* 2>/dev/null | $BIN mr 1j map --verdicts --beacon $BEACON | sort | $BIN mr 1j reduce --verdicts --beacon $BEACON > "$TMP/1j"
$BIN mr 1s map --beacon $BEACON < "$TMP/1j" | sort | $BIN mr 1s reduce --beacon $BEACON > "$TMP/1s"
(cat bandwidthlog-* 2>/dev/null || true) | $BIN mr 1b map | sort | $BIN mr 1b reduce > "$TMP/1b"
cat "$TMP/1s" "$TMP/1b" | $BIN mr 2 map | sort | $BIN mr 2 reduce --storagecost $STORAGE --bandwidthcost $BANDWIDTH`
	c := exec.CommandContext(d.ctx, "sh", "-c", script)
	c.Env = append(os.Environ(), "LOGS="+ep.Logs, "BIN="+d.self, "BEACON="+ep.Beacon, "TMP="+d.dir,
		"STORAGE="+ep.Storage, "BANDWIDTH="+ep.Bandwidth)
	c.Stderr = d.a.stderr
	return c.Output()
}

func (d *demo) read() (err error) {
	if d.reader, err = d.add("reader"); err != nil {
		return err
	}
	inv, err := d.nakedInvite()
	if err != nil {
		return err
	}
	if _, err := call[api.Community](d.simNetwork, d.reader, api.CallCommunityJoin, api.JoinRequest{Invite: inv}); err != nil {
		return err
	}
	if _, err := call[api.SendResult](d.simNetwork, d.sponsor, api.CallSend, api.SendRequest{To: d.reader.account, Coins: "5"}); err != nil {
		return err
	}
	err = d.await("the reader has replayed the chain", 180*time.Second, func() (bool, error) {
		b, err := call[api.BalanceResult](d.simNetwork, d.reader, api.CallBalance, api.None{})
		return b.Balance != "0", err
	})
	if err != nil {
		return err
	}
	d.say("a tenth node joined by an invite without addresses, found the members over the DHT, and replayed the chain")
	if _, err := call[api.None](d.simNetwork, d.sponsor, api.CallStop, api.None{}); err != nil {
		return err
	}
	d.sponsor.gone = true
	_ = d.sponsor.proc.Wait() // it was told to end
	d.say("the sponsor goes offline: what it published lives on the hosts alone")
	return d.fetch(filepath.Join(d.dir, "fetched"))
}

// fetch gets the folder on the reader and compares.
func (d *demo) fetch(to string) (err error) {
	began := time.Now()
	var got api.GetResult
	// Replace: a get that was killed after its last step finds its own folder.
	q := api.GetRequest{Ref: d.put.Ref, Dir: to, Replace: true}
	err = d.during(func() error {
		watch := api.Watch{Progress: d.hitAt(d.reader)}
		return d.patiently("the reader gets the folder", func() error { return d.ask(d.reader, api.CallGet, q, &got, watch) })
	}, nil)
	if err != nil {
		return err
	}
	if d.equal, err = sameTree(d.folder, to); err != nil {
		return err
	}
	if !d.equal {
		return fmt.Errorf("%s and %s differ: %w", d.folder, to, errDemo)
	}
	d.say("it fetched %d files, %s, in %.1f s, paid %s TAU: byte for byte the same", got.Files, bytesText(got.Bytes), time.Since(began).Seconds(), orZero(got.Paid))
	return nil
}

// nakedInvite is an invite that names accounts and no addresses: the DHT must
// find them.
func (d *demo) nakedInvite() (string, error) {
	res, err := call[api.InviteResult](d.simNetwork, d.validators[0], api.CallCommunityInvite, api.None{})
	if err != nil {
		return "", err
	}
	inv, err := types.ParseInvite(res.Invite)
	if err != nil {
		return "", err
	}
	for i := range inv.Peers {
		inv.Peers[i].Addrs, inv.Peers[i].Device = nil, types.Device{}
	}
	return inv.String(), nil
}

func orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}

// sameTree compares the files of two folders: names, contents, modification
// times to the second.
func sameTree(a, b string) (bool, error) {
	one, err := treeSum(a)
	if err != nil {
		return false, err
	}
	two, err := treeSum(b)
	return one == two, err
}

func treeSum(root string) (string, error) {
	var lines []string
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		lines = append(lines, fmt.Sprintf("%s %x", rel, h.Sum(nil)))
		return err
	})
	sort.Strings(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:]), err
}

// returnHost starts the killed host again: it follows the chain and finds what it
// still keeps.
func (d *demo) returnHost() error {
	for _, n := range []*simNode{d.sponsor, d.victim} {
		if err := d.start(n); err != nil {
			return err
		}
	}
	living := slices.Clone(d.nodes)
	if err := d.await("the killed host follows the chain again", 180*time.Second, func() (bool, error) { return d.agree(living, 1) }); err != nil {
		return err
	}
	st, err := call[api.HostStatus](d.simNetwork, d.victim, api.CallHostStatus, api.None{})
	if err != nil {
		return err
	}
	d.say("%s is back: %s, keeps %d lots", d.victim.name, st.State, len(st.Lots))
	return nil
}

func (d *demo) report() error {
	w := tabwriter.NewWriter(d.a.stdout, 2, 4, 2, ' ', 0)
	fmt.Fprintln(w, "\nnode\tlots\tproved epoch\tbalance\tsince the plan")
	for _, n := range d.nodes {
		b, err := call[api.BalanceResult](d.simNetwork, n, api.CallBalance, api.None{})
		if err != nil {
			return err
		}
		st, err := call[api.HostStatus](d.simNetwork, n, api.CallHostStatus, api.None{})
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\n", n.name, len(st.Lots), st.Proved, b.Balance, difference(d.begin[n.name], b.Balance))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	c, err := call[api.Community](d.simNetwork, d.sponsor, api.CallCommunityInfo, api.None{})
	if err != nil {
		return err
	}
	fmt.Fprintf(d.a.stdout, "\nmoney: accounts + burned %s = supply %s: %t     bytes equal: %t     time: %.0f s\n",
		c.Burned, c.Supply, c.Balanced, d.equal, time.Since(d.began).Seconds())
	if d.chaos != nil {
		fmt.Fprintln(d.a.stdout, d.chaos.told())
	}
	if !c.Balanced || !d.equal {
		return errDemo
	}
	return nil
}
