// Know the emoji that messages of this workspace use, by their short names.

export const EMOJI = {
  "+1": "👍", thumbsup: "👍", "-1": "👎", thumbsdown: "👎", wave: "👋", clap: "👏", pray: "🙏", muscle: "💪", point_right: "👉",
  raised_hands: "🙌", handshake: "🤝", eyes: "👀", smile: "😄", slightly_smiling_face: "🙂", grin: "😁", joy: "😂", wink: "😉",
  blush: "😊", heart_eyes: "😍", thinking_face: "🤔", cry: "😢", sob: "😭", sweat_smile: "😅", sunglasses: "😎", heart: "❤️",
  fire: "🔥", star: "⭐", sparkles: "✨", tada: "🎉", rocket: "🚀", zap: "⚡", boom: "💥", "100": "💯", trophy: "🏆", dart: "🎯",
  bulb: "💡", bell: "🔔", no_bell: "🔕", mega: "📣", phone: "☎️", telephone_receiver: "📞", email: "📧", calendar: "📆", date: "📅",
  alarm_clock: "⏰", hourglass: "⌛", hourglass_flowing_sand: "⏳", zzz: "💤", chart_with_upwards_trend: "📈",
  chart_with_downwards_trend: "📉", bar_chart: "📊", arrow_up: "⬆️", arrow_down: "⬇️", arrow_right: "➡️", arrow_left: "⬅️",
  arrow_upper_right: "↗️", arrow_lower_right: "↘️", small_red_triangle: "🔺", small_red_triangle_down: "🔻",
  white_check_mark: "✅", heavy_check_mark: "✔️", x: "❌", warning: "⚠️", no_entry: "⛔", no_entry_sign: "🚫", lock: "🔒",
  key: "🔑", mag: "🔍", link: "🔗", gear: "⚙️", wrench: "🔧", memo: "📝", pencil2: "✏️", clipboard: "📋", package: "📦",
  snowflake: "❄️", sunny: "☀️", thermometer: "🌡️", ice_cube: "🧊", seedling: "🌱", question: "❓", exclamation: "❗",
  information_source: "ℹ️", repeat: "🔁", arrows_counterclockwise: "🔄", leftwards_arrow_with_hook: "↩️", speech_balloon: "💬",
  busts_in_silhouette: "👥", bust_in_silhouette: "👤", office: "🏢", moneybag: "💰", robot_face: "🤖",
  red_circle: "🔴", large_green_circle: "🟢", large_yellow_circle: "🟡", large_orange_circle: "🟠", large_blue_circle: "🔵",
  white_circle: "⚪", black_circle: "⚫", large_green_square: "🟩", large_red_square: "🟥", large_yellow_square: "🟨",
};
