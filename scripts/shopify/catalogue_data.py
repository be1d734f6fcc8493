"""The provided catalogue as a table: `title | price | vendor | audience | tags`, one product a line."""

from typing import Final

CATALOGUE: Final = {
    "Clothing": """
Trail Running Tee | 34.90 | Fellside | everyone | running, breathable
Running Shorts | 39.00 | Fellside | everyone | running, lightweight
Cushioned Running Socks | 14.50 | Fellside | everyone | running, merino
Windproof Running Jacket | 89.00 | Fellside | everyone | running, windproof
Thermal Leggings | 54.00 | Nordhus | women | winter, stretch
Merino Base Layer | 69.00 | Nordhus | everyone | winter, merino
Fleece Pullover | 64.50 | Nordhus | everyone | winter, recycled
Down Puffer Jacket | 189.00 | Nordhus | everyone | winter, down
Wool Beanie | 24.00 | Nordhus | everyone | winter, wool
Knit Gloves | 22.00 | Nordhus | everyone | winter, wool
Hiking Trousers | 79.00 | Fellside | everyone | outdoor, stretch
Waterproof Rain Jacket | 129.00 | Fellside | everyone | outdoor, waterproof
Oxford Shirt | 59.00 | Marlow & Finch | men | office, cotton
Slim Chinos | 64.00 | Marlow & Finch | men | office, cotton
Leather Belt | 42.00 | Marlow & Finch | men | office, leather
Wool Blazer | 219.00 | Marlow & Finch | men | office, wool
Silk Tie | 45.00 | Marlow & Finch | men | office, silk
Cashmere Scarf | 95.00 | Marlow & Finch | everyone | winter, cashmere
Linen Summer Dress | 84.00 | Casa Lino | women | summer, linen
Straw Sun Hat | 29.00 | Casa Lino | women | summer, straw
Denim Jacket | 92.00 | Plainweave | everyone | casual, cotton
Organic Cotton T-Shirt | 19.90 | Plainweave | everyone | casual, organic
Selvedge Jeans | 119.00 | Plainweave | everyone | casual, cotton
Flannel Pyjamas | 49.00 | Plainweave | everyone | home, cotton
""",
    "Electronics": """
Ultrawide Monitor 34 | 449.00 | Lumenta | adults | office, display
Mechanical Keyboard | 119.00 | Keyforge | adults | office, wired
Ergonomic Mouse | 59.00 | Keyforge | adults | office, wireless
USB-C Docking Station | 149.00 | Lumenta | adults | office, usb-c
HD Webcam | 79.00 | Lumenta | adults | office, video
Noise-Cancelling Headphones | 279.00 | Auralis | everyone | audio, wireless
True Wireless Earbuds | 129.00 | Auralis | everyone | audio, wireless
Portable Bluetooth Speaker | 89.00 | Auralis | everyone | audio, wireless
Headphone Amplifier | 159.00 | Auralis | adults | audio, wired
Mirrorless Camera | 899.00 | Optrix | adults | photo, video
Portrait Lens 50 mm | 329.00 | Optrix | adults | photo, lens
Carbon Tripod | 179.00 | Optrix | adults | photo, carbon
Memory Card 128 GB | 29.90 | Optrix | everyone | photo, storage
Camera Backpack | 109.00 | Optrix | adults | photo, travel
USB-C Power Bank | 44.90 | Voltra | everyone | travel, usb-c
Travel Charger 65 W | 39.90 | Voltra | everyone | travel, usb-c
Braided USB-C Cable | 14.90 | Voltra | everyone | travel, usb-c
Studio Microphone | 139.00 | Auralis | adults | audio, wired
Ring Light | 49.00 | Lumenta | adults | video, lighting
E-Ink Reader | 149.00 | Lumenta | everyone | travel, display
Monitor Arm | 89.00 | Lumenta | adults | office, steel
Smart Home Hub | 99.00 | Voltra | adults | home, wireless
Mini Projector | 319.00 | Lumenta | everyone | home, display
Smart Plug Duo | 27.90 | Voltra | adults | home, wireless
""",
    "Books": """
Weeknight Vegetarian Cookbook | 24.90 | Juniper House | adults | cooking, hardback
Sourdough Baking Handbook | 28.00 | Juniper House | adults | cooking, hardback
Fermentation at Home | 22.50 | Juniper House | adults | cooking, paperback
Spice Kitchen Companion | 26.00 | Juniper House | adults | cooking, hardback
Knife Skills Illustrated | 19.90 | Juniper House | adults | cooking, paperback
The Harbour Murders | 12.90 | Tidewater Press | adults | crime, paperback
Winter at Coldwater | 12.90 | Tidewater Press | adults | crime, paperback
The Silent Ledger | 13.90 | Tidewater Press | adults | crime, paperback
A Grave in the Fens | 11.90 | Tidewater Press | adults | crime, paperback
The Last Ferry | 14.90 | Tidewater Press | adults | crime, hardback
Deep Focus at Work | 18.00 | Clearwell | adults | business, paperback
The First-Time Manager | 21.00 | Clearwell | adults | business, paperback
Money Made Plain | 17.50 | Clearwell | adults | business, paperback
Habits That Hold | 16.90 | Clearwell | adults | business, paperback
Negotiating Kindly | 19.50 | Clearwell | adults | business, hardback
Bedtime Bear Stories | 9.90 | Little Lantern | kids | picture book, hardback
My First Atlas | 18.90 | Little Lantern | kids | picture book, hardback
Dinosaurs A to Z | 14.90 | Little Lantern | kids | picture book, hardback
The Moonlight Train | 10.90 | Little Lantern | kids | picture book, hardback
Trails of the Alps | 27.00 | Tidewater Press | adults | outdoor, paperback
Stargazing for Beginners | 20.90 | Juniper House | everyone | nature, paperback
Gardening Through the Year | 29.00 | Juniper House | adults | nature, hardback
A Short History of Salt | 15.90 | Clearwell | adults | history, paperback
Poems for Long Evenings | 13.00 | Tidewater Press | adults | poetry, paperback
""",
    "Toys": """
Wooden Building Blocks | 29.90 | Brambleworks | toddlers | building, wood
Marble Run Set | 39.90 | Brambleworks | kids | building, wood
Magnetic Tiles 60 | 49.90 | Clicktown | kids | building, magnetic
Brick City Starter Box | 44.00 | Clicktown | kids | building, plastic
Robot Building Kit | 79.00 | Clicktown | kids | science, electronic
Stacking Rings | 14.90 | Brambleworks | toddlers | baby, wood
Soft Activity Cube | 24.90 | Snugglefold | toddlers | baby, fabric
Wooden Pull Duck | 19.90 | Brambleworks | toddlers | baby, wood
Shape Sorter | 21.90 | Brambleworks | toddlers | baby, wood
Railway Strategy Game | 42.00 | Tabletop & Co | everyone | board game, strategy
Cooperative Island Game | 36.00 | Tabletop & Co | everyone | board game, cooperative
Word Tile Game | 27.00 | Tabletop & Co | everyone | board game, words
Family Quiz Cards | 16.90 | Tabletop & Co | everyone | board game, cards
Watercolour Paint Set | 17.90 | Inkling | kids | creative, paint
Modelling Clay Kit | 19.90 | Inkling | kids | creative, clay
Bead Jewellery Kit | 15.90 | Inkling | kids | creative, beads
Giant Colouring Roll | 12.90 | Inkling | kids | creative, paper
Junior Microscope | 59.00 | Clicktown | kids | science, optics
Crystal Growing Lab | 24.00 | Clicktown | kids | science, chemistry
Puzzle 1000 Pieces | 18.90 | Tabletop & Co | everyone | puzzle, paper
Plush Fox | 22.90 | Snugglefold | toddlers | soft toy, fabric
Rainbow Kite | 16.50 | Snugglefold | kids | outdoor, fabric
Wooden Chess Set | 54.00 | Tabletop & Co | everyone | board game, wood
Remote Control Buggy | 64.00 | Clicktown | kids | vehicle, electronic
""",
    "Food": """
Single-Origin Coffee Beans | 14.90 | Harbour Roasters | everyone | coffee, fair trade
Espresso Roast Beans | 12.90 | Harbour Roasters | everyone | coffee, dark
Oat Barista Drink | 2.90 | Greenmill | everyone | drink, vegan
Almond Biscotti | 5.90 | Forno Bianchi | everyone | biscuit, nuts
Dark Chocolate Bar | 4.50 | Harbour Roasters | everyone | snack, fair trade
Bronze-Cut Spaghetti | 3.40 | Forno Bianchi | everyone | pasta, wheat
San Marzano Tomatoes | 3.90 | Forno Bianchi | everyone | pasta, tinned
Extra Virgin Olive Oil | 16.90 | Forno Bianchi | everyone | pantry, organic
Aged Parmesan Wedge | 11.50 | Forno Bianchi | everyone | pasta, dairy
Basil Pesto | 4.90 | Forno Bianchi | everyone | pasta, jar
Rolled Oats | 3.20 | Greenmill | everyone | breakfast, wholegrain
Wildflower Honey | 8.90 | Meadow Larder | everyone | breakfast, jar
Maple Granola | 6.90 | Greenmill | everyone | breakfast, nuts
Blueberry Preserve | 5.50 | Meadow Larder | everyone | breakfast, jar
Strong Bread Flour | 3.60 | Greenmill | everyone | baking, wheat
Dried Sourdough Starter | 7.90 | Greenmill | everyone | baking, wheat
Sea Salt Flakes | 4.20 | Meadow Larder | everyone | pantry, mineral
Roasted Almonds | 6.50 | Meadow Larder | everyone | snack, nuts
Dried Mango Strips | 5.20 | Meadow Larder | everyone | snack, fruit
Energy Bars Box | 18.90 | Greenmill | everyone | snack, oats
Sea Salt Crackers | 3.80 | Meadow Larder | everyone | snack, wheat
Green Sencha Tea | 9.90 | Harbour Roasters | everyone | tea, organic
Smoked Paprika | 4.40 | Meadow Larder | everyone | pantry, spice
Hot Chilli Sauce | 5.70 | Meadow Larder | everyone | pantry, spice
""",
    "Automotive": """
Snow Foam Shampoo | 16.90 | Gleam Garage | adults | wash, liquid
Two-Bucket Wash Kit | 44.90 | Gleam Garage | adults | wash, kit
Wheel Cleaner | 14.90 | Gleam Garage | adults | wash, liquid
Microfibre Cloth Set | 12.90 | Gleam Garage | adults | wash, textile
Carnauba Wax | 27.90 | Gleam Garage | adults | wash, polish
Interior Detailing Spray | 11.90 | Gleam Garage | adults | interior, liquid
Leather Conditioner | 18.50 | Gleam Garage | adults | interior, leather
Cordless Car Vacuum | 69.00 | Roadwise | adults | interior, electric
Rubber Floor Mats | 39.00 | Roadwise | adults | interior, rubber
Ice Scraper | 9.90 | Roadwise | adults | winter, tool
Windscreen Antifreeze | 7.90 | Roadwise | adults | winter, liquid
Snow Chains | 84.00 | Roadwise | adults | winter, steel
Battery Jump Starter | 99.00 | Amperon | adults | electric, safety
Dash Camera | 139.00 | Amperon | adults | electric, video
Magnetic Phone Mount | 24.90 | Amperon | adults | electric, magnetic
Dual USB Car Charger | 19.90 | Amperon | adults | electric, usb-c
Tyre Pressure Gauge | 22.90 | Roadwise | adults | tool, safety
Roof Cargo Box | 389.00 | Roadwise | adults | travel, plastic
Tow Strap | 29.00 | Roadwise | adults | tool, safety
LED Headlight Bulbs | 49.00 | Amperon | adults | electric, safety
Cabin Air Filter | 21.00 | Roadwise | adults | spare part, filter
Synthetic Engine Oil | 46.00 | Roadwise | adults | spare part, liquid
Child Seat Protector | 26.90 | Roadwise | toddlers | interior, textile
Car Cool Box | 89.00 | Amperon | everyone | travel, electric
""",
    "Home": """
Cast Iron Skillet | 49.00 | Hearth & Oak | adults | kitchen, iron
Chef Knife 20 cm | 79.00 | Hearth & Oak | adults | kitchen, steel
Bamboo Cutting Board | 26.00 | Hearth & Oak | adults | kitchen, bamboo
Stainless Saucepan Set | 129.00 | Hearth & Oak | adults | kitchen, steel
Silicone Spatula Set | 17.90 | Hearth & Oak | adults | kitchen, silicone
Linen Duvet Cover | 119.00 | Casa Lino | adults | bedroom, linen
Memory Foam Pillow | 54.00 | Stillwater | adults | bedroom, foam
Weighted Blanket | 94.00 | Stillwater | adults | bedroom, cotton
Blackout Curtains | 69.00 | Casa Lino | everyone | bedroom, textile
Bedside Lamp | 45.00 | Stillwater | everyone | bedroom, lighting
Pour-Over Coffee Maker | 39.00 | Hearth & Oak | adults | coffee, glass
Burr Coffee Grinder | 109.00 | Hearth & Oak | adults | coffee, electric
Gooseneck Kettle | 74.00 | Hearth & Oak | adults | coffee, steel
Stoneware Mug Set | 34.00 | Claybarn | everyone | coffee, stoneware
Digital Kitchen Scale | 24.90 | Hearth & Oak | adults | kitchen, electric
Dutch Oven | 139.00 | Hearth & Oak | adults | baking, iron
Bread Proofing Basket | 21.00 | Claybarn | adults | baking, rattan
Baking Stone | 36.00 | Claybarn | adults | baking, stone
Oak Standing Desk | 489.00 | Stillwater | adults | office, wood
Ergonomic Desk Chair | 329.00 | Stillwater | adults | office, textile
LED Desk Lamp | 52.00 | Stillwater | adults | office, lighting
Scented Soy Candle | 22.00 | Claybarn | adults | decoration, soy
Wool Throw Rug | 149.00 | Casa Lino | everyone | decoration, wool
Indoor Plant Pot | 27.50 | Claybarn | everyone | decoration, stoneware
""",
    "Sports": """
Road Running Shoes | 139.00 | Stridewell | adults | running, footwear
GPS Running Watch | 249.00 | Stridewell | adults | running, electronic
Hydration Vest | 89.00 | Stridewell | adults | running, outdoor
Reflective Running Belt | 24.90 | Stridewell | adults | running, safety
Foam Roller | 29.90 | Ironpine | adults | recovery, foam
Resistance Band Set | 27.90 | Ironpine | adults | strength, rubber
Adjustable Dumbbells | 229.00 | Ironpine | adults | strength, steel
Kettlebell 16 kg | 59.00 | Ironpine | adults | strength, iron
Pull-Up Bar | 44.00 | Ironpine | adults | strength, steel
Exercise Mat | 32.00 | Ironpine | adults | strength, foam
Cork Yoga Mat | 69.00 | Lotusleaf | adults | yoga, cork
Yoga Block Pair | 22.00 | Lotusleaf | adults | yoga, cork
Yoga Strap | 12.90 | Lotusleaf | adults | yoga, cotton
Meditation Cushion | 48.00 | Lotusleaf | adults | yoga, cotton
Two-Person Tent | 259.00 | Fellside | everyone | camping, waterproof
Down Sleeping Bag | 199.00 | Fellside | everyone | camping, down
Inflatable Sleeping Pad | 84.00 | Fellside | everyone | camping, lightweight
Camping Stove | 64.00 | Fellside | adults | camping, steel
Headlamp | 39.00 | Fellside | everyone | camping, electronic
Road Bike Helmet | 99.00 | Velora | adults | cycling, safety
Bike Repair Kit | 26.00 | Velora | adults | cycling, tool
Swim Goggles | 21.90 | Velora | everyone | swimming, silicone
Badminton Set | 47.00 | Stridewell | everyone | racket, outdoor
Climbing Chalk Bag | 23.00 | Fellside | adults | climbing, textile
""",
    "Beauty": """
Gentle Face Cleanser | 16.90 | Solenne | everyone | skin, vegan
Vitamin C Serum | 34.00 | Solenne | adults | skin, vegan
Hyaluronic Moisturiser | 29.00 | Solenne | adults | skin, unscented
Mineral Sunscreen SPF 50 | 24.50 | Solenne | everyone | skin, mineral
Retinol Night Cream | 42.00 | Solenne | adults | skin, unscented
Safety Razor | 38.00 | Barber Lane | men | shaving, steel
Shaving Cream | 14.90 | Barber Lane | men | shaving, vegan
Aftershave Balm | 19.90 | Barber Lane | men | shaving, scented
Beard Oil | 17.50 | Barber Lane | men | beard, scented
Beard Trimmer | 64.00 | Barber Lane | men | beard, electric
Argan Shampoo | 13.90 | Maison Tilleul | everyone | hair, vegan
Repair Conditioner | 13.90 | Maison Tilleul | everyone | hair, vegan
Keratin Hair Mask | 22.00 | Maison Tilleul | women | hair, keratin
Boar Bristle Brush | 26.00 | Maison Tilleul | women | hair, wood
Ionic Hair Dryer | 89.00 | Maison Tilleul | women | hair, electric
Tinted Moisturiser | 27.00 | Roselle | women | make-up, vegan
Brow Pencil | 12.90 | Roselle | women | make-up, vegan
Volume Mascara | 18.90 | Roselle | women | make-up, vegan
Matte Lipstick | 16.50 | Roselle | women | make-up, vegan
Micellar Water | 11.90 | Roselle | everyone | skin, unscented
Clay Face Mask | 21.50 | Solenne | everyone | skin, mineral
Rose Hand Cream | 10.90 | Maison Tilleul | everyone | body, scented
Cedar Eau de Parfum | 72.00 | Barber Lane | everyone | fragrance, scented
Bath Salts | 15.90 | Maison Tilleul | everyone | body, mineral
""",
    "Health": """
Daily Multivitamin | 17.90 | Vitalgrove | adults | vitamins, tablets
Vitamin D3 Drops | 12.90 | Vitalgrove | everyone | vitamins, drops
Omega-3 Capsules | 21.90 | Vitalgrove | adults | vitamins, capsules
Magnesium Tablets | 14.90 | Vitalgrove | adults | minerals, tablets
Zinc Lozenges | 9.90 | Vitalgrove | adults | minerals, lozenges
Whey Protein Vanilla | 36.90 | Corefuel | adults | sports nutrition, powder
Plant Protein Cocoa | 38.90 | Corefuel | adults | sports nutrition, vegan
Creatine Powder | 24.90 | Corefuel | adults | sports nutrition, powder
Electrolyte Tablets | 11.90 | Corefuel | adults | sports nutrition, tablets
Shaker Bottle | 13.50 | Corefuel | adults | sports nutrition, plastic
Lavender Pillow Spray | 15.90 | Dreamwell | adults | sleep, scented
Chamomile Sleep Tea | 7.90 | Dreamwell | everyone | sleep, organic
Silk Eye Mask | 24.90 | Dreamwell | adults | sleep, silk
Foam Earplugs | 6.90 | Dreamwell | everyone | sleep, foam
Blood Pressure Monitor | 59.00 | Carepoint | adults | device, electronic
Pulse Oximeter | 34.00 | Carepoint | adults | device, electronic
Digital Thermometer | 16.90 | Carepoint | everyone | device, electronic
First Aid Kit | 29.90 | Carepoint | everyone | first aid, kit
Saline Nasal Spray | 8.50 | Carepoint | everyone | cold, spray
Massage Gun | 129.00 | Corefuel | adults | recovery, electronic
Heating Pad | 39.90 | Carepoint | adults | recovery, electric
Posture Corrector | 32.00 | Carepoint | adults | recovery, textile
Digital Body Scale | 44.00 | Carepoint | adults | device, electronic
Hand Sanitiser | 4.90 | Carepoint | everyone | hygiene, gel
""",
}
