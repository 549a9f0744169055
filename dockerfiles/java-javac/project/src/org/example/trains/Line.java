package org.example.trains;

import java.util.List;

/** A line and the minutes between its stations. */
public record Line(String name, List<Leg> legs) {
    public record Leg(String from, String to, int minutes) {
        public Leg {
            if (minutes <= 0) {
                throw new IllegalArgumentException("a leg takes time: " + from + " to " + to);
            }
        }
    }

    /** A line from lines of text such as {@code North 12 South}. */
    public static Line parse(String name, List<String> lines) {
        return new Line(name, lines.stream().filter(line -> !line.isBlank()).map(Line::leg).toList());
    }

    private static Leg leg(String line) {
        String[] words = line.strip().split("\\s+");
        if (words.length != 3) {
            throw new IllegalArgumentException("not a leg: " + line);
        }
        return new Leg(words[0], words[2], Integer.parseInt(words[1]));
    }
}
