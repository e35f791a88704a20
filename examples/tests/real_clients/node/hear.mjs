// Prints what the EventSource of npm hears from the address that it is given, as hear.html tells it.
import { EventSource } from "eventsource";

const source = new EventSource(process.argv[1]);
source.onopen = () => console.log("open");
source.onmessage = (event) => console.log(`${event.type} ${event.data}`);
source.onerror = () => console.log(`error, state ${source.readyState}`);
