// Hocuspocus with its defaults, keeping nothing.
import { Server } from "@hocuspocus/server";

new Server({ address: process.env.HOST, port: Number(process.env.PORT), quiet: true }).listen();
