// Prints the events that npm's EventSource receives from the URL in its argument, in the format of report_events.html.
import { EventSource } from "eventsource";

const source = new EventSource(process.argv[1]);
source.onopen = () => console.log("open");
source.onmessage = (event) => console.log(`${event.type} ${event.data}`);
source.onerror = () => console.log(`error, state ${source.readyState}`);
