import { formatInTimeZone } from "date-fns-tz";
import { useEffect, useState } from "react";

export function Clock({ zone }) {
  const [now, setNow] = useState(() => new Date());
  useEffect(() => {
    const timer = setInterval(() => setNow(new Date()), 1000);
    return () => clearInterval(timer);
  }, []);
  return (
    <p>
      <b>{zone}</b> <time dateTime={now.toISOString()}>{formatInTimeZone(now, zone, "HH:mm:ss")}</time>
    </p>
  );
}
