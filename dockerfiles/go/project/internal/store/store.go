// Package store keeps links in memory.
package store

import (
	"sync"

	"example.org/slug"
)

// Store gives every URL a short name. Its zero value is empty and ready to use.
type Store struct {
	mutex sync.RWMutex
	urls  []string
	names map[string]string
}

// Add returns the name of a URL, a new one if it has none.
func (s *Store) Add(url string) string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if name, ok := s.names[url]; ok {
		return name
	}
	if s.names == nil {
		s.names = map[string]string{}
	}
	name := slug.Encode(uint64(len(s.urls)))
	s.urls = append(s.urls, url)
	s.names[url] = name
	return name
}

// Find returns the URL of a name.
func (s *Store) Find(name string) (string, bool) {
	number, err := slug.Decode(name)
	if err != nil {
		return "", false
	}
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	if number >= uint64(len(s.urls)) {
		return "", false
	}
	return s.urls[number], true
}
