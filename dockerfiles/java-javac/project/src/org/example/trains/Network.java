package org.example.trains;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.PriorityQueue;

/** All lines, and the fastest way through them. */
public final class Network {
    private record Visit(String station, int minutes, Visit before) {}

    private final Map<String, List<Line.Leg>> legs = new HashMap<>();

    public void add(Line line) {
        for (Line.Leg leg : line.legs()) {
            legs.computeIfAbsent(leg.from(), station -> new ArrayList<>()).add(leg);
            legs.computeIfAbsent(leg.to(), station -> new ArrayList<>())
                    .add(new Line.Leg(leg.to(), leg.from(), leg.minutes()));
        }
    }

    public record Route(List<String> stations, int minutes) {}

    public Optional<Route> fastest(String from, String to) {
        PriorityQueue<Visit> pending = new PriorityQueue<>(Comparator.comparingInt(Visit::minutes));
        Map<String, Integer> best = new HashMap<>();
        pending.add(new Visit(from, 0, null));
        while (!pending.isEmpty()) {
            Visit visit = pending.remove();
            if (visit.station().equals(to)) {
                return Optional.of(new Route(way(visit), visit.minutes()));
            }
            if (best.putIfAbsent(visit.station(), visit.minutes()) != null) {
                continue;
            }
            for (Line.Leg leg : legs.getOrDefault(visit.station(), List.of())) {
                pending.add(new Visit(leg.to(), visit.minutes() + leg.minutes(), visit));
            }
        }
        return Optional.empty();
    }

    private static List<String> way(Visit last) {
        List<String> stations = new ArrayList<>();
        for (Visit visit = last; visit != null; visit = visit.before()) {
            stations.add(0, visit.station());
        }
        return List.copyOf(stations);
    }
}
