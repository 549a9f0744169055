// Package web serves links over HTTP.
package web

import (
	"encoding/json"
	"html/template"
	"log"
	"net/http"
	"net/url"
	"strings"

	"example.org/linkd/internal/store"
)

var page = template.Must(template.New("page").Parse(`<!doctype html>
<title>linkd</title>
<form method="post" action="/links"><input name="url" value="{{.}}"><button>Shorten</button></form>
`))

// Handler answers requests for links of a store.
func Handler(links *store.Store) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("/links", func(w http.ResponseWriter, r *http.Request) {
		target := r.FormValue("url")
		parsed, err := url.Parse(target)
		if r.Method != http.MethodPost || err != nil || parsed.Host == "" {
			http.Error(w, "POST a url", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]string{"name": links.Add(target)})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		if name == "" {
			if err := page.Execute(w, "https://"); err != nil {
				log.Print(err)
			}
			return
		}
		target, ok := links.Find(name)
		if !ok {
			http.NotFound(w, r)
			return
		}
		http.Redirect(w, r, target, http.StatusFound)
	})
	return mux
}
