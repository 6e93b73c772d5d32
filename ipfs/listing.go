package ipfs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"math/bits"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"github.com/ipfs/boxo/gateway"
	pb "github.com/ipfs/boxo/ipld/unixfs/pb"
)

// listing shows directories as plain pages, and leaves all else to next. The
// links are relative names, directories with a slash at the end, so that mirrors
// and file managers can read them; rclone's http remote does.
type listing struct {
	back    *backend
	entries int
	next    http.Handler
}

// ServeHTTP implements http.Handler.
func (l *listing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !wantsPage(r) {
		l.next.ServeHTTP(w, r)
		return
	}
	md, dir := l.directory(r.Context(), r.URL.Path)
	if dir == nil {
		l.next.ServeHTTP(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=604800, stale-while-revalidate=2678400")
	h.Set("X-Ipfs-Path", r.URL.Path)
	h.Set("X-Ipfs-Roots", rootsOf(md))
	tag := `"DirIndex-1_CID-` + md.LastSegment.RootCid().String() + `"`
	h.Set("Etag", tag)
	if strings.Contains(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if r.Method == http.MethodHead {
		return
	}
	if err := l.page(r.Context(), w, r.URL.Path, dir); err != nil {
		panic(http.ErrAbortHandler) // the page is under way: only a broken connection says that it is not whole
	}
}

// wantsPage reports whether a request asks for a directory as a page.
func wantsPage(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || !strings.HasSuffix(r.URL.Path, "/") {
		return false
	}
	if r.URL.Query().Has("format") || strings.Contains(r.Header.Get("Cache-Control"), "only-if-cached") {
		return false
	}
	for _, accept := range strings.Split(strings.Join(r.Header.Values("Accept"), ","), ",") {
		kind, _, _ := strings.Cut(strings.TrimSpace(accept), ";")
		switch {
		case strings.HasPrefix(kind, "application/vnd.ip"), kind == "application/x-tar", kind == "application/json", kind == "application/cbor":
			return false
		}
	}
	return true
}

// directory is the directory at a path; nil when there is none, or it has a page
// of its own.
func (l *listing) directory(ctx context.Context, urlPath string) (gateway.ContentPathMetadata, *node) {
	var none gateway.ContentPathMetadata
	p, err := immutable(urlPath)
	if err != nil {
		return none, nil
	}
	md, err := l.back.ResolvePath(ctx, p)
	if err != nil {
		return none, nil
	}
	n, err := l.back.node(ctx, md)
	if err != nil || !n.isDirectory() {
		return none, nil
	}
	index, err := immutable(md.LastSegment.String() + "/index.html")
	if err != nil {
		return none, nil
	}
	if _, err := l.back.ResolvePath(ctx, index); err == nil {
		return none, nil
	}
	return md, n
}

// page writes the list as it is read.
func (l *listing) page(ctx context.Context, w io.Writer, urlPath string, dir *node) error {
	b := bufio.NewWriterSize(w, 16<<10)
	title := html.EscapeString("Index of " + visible(urlPath))
	_, err := fmt.Fprintf(b, "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<title>%s</title>\n</head>\n<body>\n<h1>%s</h1>\n<pre>\n", title, title)
	if err != nil {
		return err
	}
	if strings.Count(strings.TrimSuffix(urlPath, "/"), "/") > 2 {
		if _, err := b.WriteString("<a href=\"../\">../</a>\n"); err != nil {
			return err
		}
	}
	left := l.entries
	err = entries(ctx, l.back.blocks, dir, 0, func(e pbLink) error {
		if left--; left < 0 {
			return fmt.Errorf("more than %d entries", l.entries)
		}
		return l.line(ctx, b, e)
	})
	if err != nil {
		return err
	}
	if _, err := b.WriteString("</pre>\n</body>\n</html>\n"); err != nil {
		return err
	}
	return b.Flush()
}

// line writes one entry. A name that no path can lead to has no link.
func (l *listing) line(ctx context.Context, b *bufio.Writer, e pbLink) error {
	isDir, size, err := l.look(ctx, e)
	if err != nil {
		return err
	}
	slash := ""
	if isDir {
		slash = "/"
	}
	text := html.EscapeString(visible(e.name)) + slash
	if e.name == "" || e.name == "." || e.name == ".." || strings.ContainsAny(e.name, "/\x00") {
		_, err = fmt.Fprintf(b, "%s %s\n", text, size)
		return err
	}
	href := html.EscapeString("./" + url.PathEscape(e.name) + slash)
	_, err = fmt.Fprintf(b, "<a href=\"%s\">%s</a> %s\n", href, text, size)
	return err
}

// look finds what an entry is. What is not held looks like a file of unknown
// size: it cannot be told.
func (l *listing) look(ctx context.Context, e pbLink) (isDir bool, size string, err error) {
	if isRaw(e.cid) {
		return false, strconv.FormatInt(e.size, 10), nil
	}
	n, err := readNode(ctx, l.back.blocks, e.cid)
	switch {
	case errors.Is(err, errBudget):
		return false, "", err
	case err != nil:
		return false, "-", nil
	case n.isDirectory():
		return true, "-", nil
	case n.isFile():
		return false, strconv.FormatInt(n.size(), 10), nil
	}
	return false, "-", nil
}

// visible is a name without what could move the cursor or turn the line.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(s, string(unicode.ReplacementChar)))
}

// entries walks a directory, a sharded one in the order of its shards. A shard
// deeper than the hash has digits is refused; how many shards there are is
// bounded by the budget of ctx.
func entries(ctx context.Context, b Blocks, dir *node, depth int, emit func(pbLink) error) error {
	if dir.kind != pb.Data_HAMTShard {
		for _, e := range dir.links {
			if err := emit(e); err != nil {
				return err
			}
		}
		return nil
	}
	digits, err := shardDigits(dir, depth)
	if err != nil {
		return err
	}
	for _, e := range dir.links {
		if len(e.name) < digits {
			return fmt.Errorf("%w: shard has the name %q", ErrUnixFS, e.name)
		}
		if len(e.name) > digits {
			e.name = e.name[digits:]
			if err := emit(e); err != nil {
				return err
			}
			continue
		}
		shard, err := readNode(ctx, b, e.cid)
		if err != nil {
			return err
		}
		if shard.kind != pb.Data_HAMTShard {
			return fmt.Errorf("%w: block %s is no shard", ErrUnixFS, e.cid)
		}
		if err := entries(ctx, b, shard, depth+1, emit); err != nil {
			return err
		}
	}
	return nil
}

// shardDigits is how many hexadecimal digits stand before the names of a shard.
func shardDigits(dir *node, depth int) (int, error) {
	fanout := dir.data.Fanout()
	if bits.OnesCount64(fanout) != 1 || fanout < 8 || fanout > 1024 {
		return 0, fmt.Errorf("%w: shard of %d places", ErrUnixFS, fanout)
	}
	width := bits.TrailingZeros64(fanout)
	if (depth+1)*width > 64 {
		return 0, fmt.Errorf("%w: shards %d deep, more than a hash of 64 bits leads to", ErrUnixFS, depth+1)
	}
	return len(strconv.FormatUint(fanout-1, 16)), nil
}
