package play

import (
	"html/template"
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode"

	"github.com/staddle/staddle/archive"
)

// page is a listing: plain links, relative, that people, players and rclone's
// http remote read.
var page = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>{{.Title}}</title></head><body>
<h1>{{.Title}}</h1>
<pre>{{if .Up}}<a href="../">../</a>
{{end}}{{range .Rows}}<a href="{{.Href}}">{{.Name}}</a>{{if .Size}}  {{.Size}}{{end}}
{{end}}</pre></body></html>
`))

type row struct {
	Href template.URL // escaped by href
	Name string
	Size int64
}

// list answers with the entries of a directory. Its address ends in a slash, so
// that relative links mean what they say.
func (p *Player) list(w *patient, r *http.Request, root, dir string) error {
	h := w.Header()
	if !strings.HasSuffix(r.URL.Path, "/") {
		h.Del("Etag")
		h.Set("Location", (&url.URL{Path: r.URL.Path + "/"}).EscapedPath())
		w.ResponseWriter.WriteHeader(http.StatusFound)
		return nil
	}
	if match := r.Header.Get("If-None-Match"); match != "" && (match == "*" || strings.Contains(match, h.Get("Etag"))) {
		w.ResponseWriter.WriteHeader(http.StatusNotModified)
		return nil
	}
	entries, err := p.source.List(r.Context(), root, dir)
	if err != nil {
		return err
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", noScripts)
	if r.Method == http.MethodHead {
		return nil
	}
	rows := make([]row, 0, len(entries))
	for i := range entries {
		e := &entries[i]
		name := path.Base(e.Name)
		one := row{Href: template.URL(href(name)), Name: plain(name), Size: e.Size}
		switch e.Type {
		case archive.Dir:
			one = row{Href: template.URL(href(name) + "/"), Name: plain(name) + "/"}
		case archive.File:
		default: // a link leads nowhere here
			continue
		}
		rows = append(rows, one)
	}
	return page.Execute(w, struct {
		Title string
		Up    bool
		Rows  []row
	}{plain("/" + strings.Trim(root+"/"+dir, "/")), dir != "", rows})
}

// href is a relative link to a name, whatever the name holds.
func href(name string) string { return "./" + url.PathEscape(name) }

// plain is a name without control characters.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, name)
}
